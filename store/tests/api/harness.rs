//! A store on a port of its own, over data of its own.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::data_services::{MariaDb, Redis};
use lab::http::Answer;
use lab::process::eventually_within;
use store::app::App;
use store::config::Config;
use store::service::Shop;
use store::{life, server};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// Where one test keeps its data; several stores may share it, and each keeps it.
#[derive(Clone)]
pub(crate) enum Data {
    /// A file of its own, in a folder that goes with the last who has it.
    Embedded(Arc<TempDir>),
    /// A database and a Redis of its own.
    Servers(String, String),
}

static SERVERS: OnceLock<(MariaDb, Redis)> = OnceLock::new();

impl Data {
    /// An SQLite file and the in-process cache.
    pub(crate) fn embedded() -> Self {
        Self::Embedded(Arc::new(TempDir::new().unwrap()))
    }

    /// A fresh database on a private MariaDB, and a private Redis.
    pub(crate) fn servers() -> Self {
        let (database, redis) = shared_servers();
        Self::Servers(database.url("store").unwrap(), redis.url())
    }

    /// The same with a Redis of the caller's own.
    pub(crate) fn with_redis(url: String) -> Self {
        Self::Servers(shared_servers().0.url("store").unwrap(), url)
    }

    /// The settings that lead here.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Embedded(folder) => {
                vec![("STORE_DATA", folder.path().join("store.sqlite3").display().to_string())]
            }
            Self::Servers(database, redis) => {
                vec![("DATABASE_URL", database.clone()), ("REDIS_URL", redis.clone())]
            }
        }
    }
}

/// The servers of this test binary.
pub(crate) fn shared_servers() -> &'static (MariaDb, Redis) {
    SERVERS.get_or_init(|| {
        // Two installations at once would remove each other's files in the system's temporary folder.
        let lock = std::fs::File::create(std::env::temp_dir().join("store-tests.lock")).unwrap();
        lock.lock().unwrap();
        (MariaDb::start().unwrap(), Redis::start().unwrap())
    })
}

/// A MariaDB and a Redis that one test may kill.
pub(crate) fn private_servers() -> (MariaDb, Redis) {
    let lock = std::fs::File::create(std::env::temp_dir().join("store-tests.lock")).unwrap();
    lock.lock().unwrap();
    (MariaDb::start_private().unwrap(), Redis::start_private().unwrap())
}

/// Long enough for something to happen in the background of a busy machine.
pub(crate) const fn soon() -> Duration {
    Duration::from_secs(30)
}

/// Runs a test on each kind of data.
pub(crate) fn on_both(test: impl Fn(&Data)) {
    test(&Data::embedded());
    test(&Data::servers());
}

/// A store that serves until it is dropped.
pub(crate) struct Store {
    pub(crate) address: SocketAddr,
    pub(crate) app: Arc<App>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// A folder that went with its test would take the file from under a store that still opens it.
    _data: Option<Data>,
}

impl Store {
    /// Starts over `data` with the four products of the small profile and waits until it is ready.
    pub(crate) fn start(data: &Data, settings: &[(&str, &str)]) -> Self {
        let mut all = data.settings();
        all.push(("STORE_SEED", "small".to_owned()));
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let store = Self::launch(&all.into_iter().chain(settings).collect(), Some(data.clone()));
        let ready = || store.get("/ready").status == 200;
        assert!(
            eventually_within(Duration::from_secs(30), ready),
            "not ready: {}",
            store.get("/ready").text()
        );
        store
    }

    /// Starts over data that was seeded before.
    pub(crate) fn start_seeded(data: &Data, settings: &[(&str, &str)]) -> Self {
        Self::start(data, &[settings, &[("STORE_SEED", "none")]].concat())
    }

    /// Starts and does not wait.
    pub(crate) fn start_unready(settings: &HashMap<&str, String>) -> Self {
        Self::launch(settings, None)
    }

    fn launch(settings: &HashMap<&str, String>, data: Option<Data>) -> Self {
        let (config, _) = Config::read(&|name| settings.get(name).cloned(), "test").unwrap();
        let (stop, stopped) = oneshot::channel();
        let (opened, open) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let served = Arc::new(App::new(config).unwrap());
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                opened.send((listener.local_addr().unwrap(), Arc::clone(&served))).unwrap();
                let life = tokio::spawn(life::run(Arc::clone(&served)));
                let redis = tokio::spawn(life::watch_redis(Arc::clone(&served)));
                let shutdown = async {
                    let _ = stopped.await;
                };
                server::run(
                    listener,
                    Shop::new(Arc::clone(&served)).unwrap(),
                    shutdown,
                    Duration::from_secs(5),
                )
                .await;
                life.abort();
                redis.abort();
            });
        });
        let (address, app) = open.recv().unwrap();
        Self { address, app, stop: Some(stop), thread: Some(thread), _data: data }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        lab::http::get(self.address, path).unwrap()
    }

    pub(crate) fn post(&self, path: &str, json: &str) -> Answer {
        lab::http::post(self.address, path, json).unwrap()
    }

    /// As [`Self::post`], with an `Idempotency-Key`.
    pub(crate) fn post_once(&self, path: &str, key: &str, json: &str) -> Answer {
        self.raw(&format!(
            "POST {path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Idempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        ))
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.raw(&format!("DELETE {path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\n\r\n"))
    }

    /// Sends bytes as they are; the answer must close the connection.
    pub(crate) fn raw(&self, request: &str) -> Answer {
        raw(self.address, request)
    }

    /// The body of a GET that must succeed.
    #[track_caller]
    pub(crate) fn shown(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    /// The body of a GET, whatever became of it.
    pub(crate) fn shown_any(&self, path: &str) -> String {
        self.get(path).text()
    }

    /// Orders and returns the number of the order.
    #[track_caller]
    pub(crate) fn order(&self, user: i64, lines: &[(i64, i64)]) -> i64 {
        let answer = self.post("/orders", &order(user, lines));
        assert_eq!(answer.status, 201, "{}", answer.text());
        let text = answer.text();
        let number =
            text.trim_end().strip_prefix("{\"order_id\":").and_then(|it| it.strip_suffix('}'));
        number.unwrap().parse().unwrap()
    }

    /// The stock level that the store shows.
    #[track_caller]
    pub(crate) fn stock(&self, product: i64) -> i64 {
        let text = self.shown(&format!("/stocks/{product}"));
        let number = text.trim_end().rsplit(':').next().and_then(|it| it.strip_suffix('}'));
        number.unwrap().parse().unwrap()
    }

    /// The sum of a counter over its labels.
    pub(crate) fn counted(&self, start: &str) -> f64 {
        counted(self.address, start)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends bytes as they are; the answer must close the connection.
pub(crate) fn raw(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |it: &str| {
        it.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap()
    };
    Answer { status, headers: lines.map(header).collect(), body: body.as_bytes().to_vec() }
}

/// The sum of a counter over its labels.
pub(crate) fn counted(address: SocketAddr, start: &str) -> f64 {
    let text = lab::http::get(address, "/metrics").unwrap().text();
    let lines = text.lines().filter(|it| it.starts_with(start));
    lines.map(|it| it.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// The body of an order.
pub(crate) fn order(user: i64, lines: &[(i64, i64)]) -> String {
    let line = |(product, quantity): &(i64, i64)| {
        format!(r#"{{"product_id":{product},"quantity":{quantity}}}"#)
    };
    let lines: Vec<_> = lines.iter().map(line).collect();
    format!(r#"{{"user_id":{user},"items":[{}]}}"#, lines.join(","))
}

/// Runs the same work on many threads at once and collects what each returns.
pub(crate) fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|it| scope.spawn(move || work(it))).collect();
        handles.into_iter().map(|it| it.join().unwrap()).collect()
    })
}
