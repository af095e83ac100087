//! Is what the store says to its servers kept from those in between?

use std::process::Command;

use lab::data_services::{MariaDb, Redis};
use lab::ports::free_port;
use lab::process::{Process, eventually_within, program};
use tempfile::TempDir;

use crate::harness::{Data, order, soon};

/// A certificate for this machine's own address, the authority that signed it, and another one that
/// signed nothing.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        let made = Self(TempDir::new().unwrap());
        for name in ["authority", "stranger"] {
            made.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
                 -subj /CN={name} -keyout {name}.key -out {name}.pem"
            ));
        }
        made.openssl(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=server \
             -keyout server.key -out server.csr",
        );
        std::fs::write(made.0.path().join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
        made.openssl(
            "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial \
             -days 2 -extfile names -out server.pem",
        );
        made
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn openssl(&self, words: &str) {
        let mut command = Command::new(program("openssl").unwrap());
        let made = command.args(words.split_whitespace()).current_dir(self.0.path()).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{words}: {}", String::from_utf8_lossy(&made.stderr));
    }
}

/// A store as its own process, because the authorities it trusts are a matter of its environment.
struct Store {
    port: u16,
    _process: Process,
    _folder: TempDir,
}

impl Store {
    fn start(settings: &[(&str, String)]) -> Self {
        let (folder, port) = (TempDir::new().unwrap(), free_port().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
        command.current_dir(folder.path()).env_clear();
        command.envs(settings.iter().map(|(name, value)| (*name, value)));
        command.env("STORE_LISTEN", format!("127.0.0.1:{port}")).env("STORE_SEED", "small");
        command.env("STORE_DRAIN_DELAY", "0s");
        let mut process = Process::spawn("store", &mut command).unwrap();
        let alive = || Ok(lab::http::get(([127, 0, 0, 1], port).into(), "/livez").is_ok());
        process.wait_until_ready(soon(), alive).unwrap();
        Self { port, _process: process, _folder: folder }
    }

    fn ready(&self) -> lab::http::Answer {
        lab::http::get(([127, 0, 0, 1], self.port).into(), "/ready").unwrap()
    }

    #[track_caller]
    fn orders(&self) {
        let place = ([127, 0, 0, 1], self.port).into();
        let answer = lab::http::post(place, "/orders", &order(1, &[(1, 1)])).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    /// Waits until it is ready and says this of a part.
    #[track_caller]
    fn comes_to(&self, part: &str) {
        let said = || {
            let answer = self.ready();
            answer.status == 200 && answer.text().contains(part)
        };
        assert!(eventually_within(soon(), said), "{}", self.ready().text());
    }
}

#[test]
fn redis_is_spoken_to_in_secret_and_only_if_somebody_vouches_for_it() {
    let certificates = Certificates::new();
    let secret = free_port().unwrap();
    let redis = Redis::start_private_with(&format!(
        "tls-port {secret}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\n\
         tls-auth-clients no\n",
        certificates.path("server.pem"),
        certificates.path("server.key"),
        certificates.path("authority.pem"),
    ))
    .unwrap();
    let Data::Servers(database, _) = Data::with_redis(redis.url()) else { unreachable!() };
    let settings = |authority: &str| {
        [
            ("DATABASE_URL", database.clone()),
            ("REDIS_URL", format!("rediss://127.0.0.1:{secret}")),
            ("SSL_CERT_FILE", certificates.path(authority)),
        ]
    };
    let trusting = Store::start(&settings("authority.pem"));
    trusting.comes_to("\"redis\":\"ok\"");
    trusting.orders();
    let mut plain = redis::Client::open(redis.url()).unwrap();
    let learned = || {
        let kept = redis::cmd("HGET").arg("stock:1").arg("quantity").query::<String>(&mut plain);
        kept.is_ok_and(|it| it == "999")
    };
    assert!(eventually_within(soon(), learned), "the order is in Redis");
    drop(trusting);

    let doubting = Store::start(&settings("stranger.pem"));
    doubting.comes_to("\"redis\":\"unavailable, using the database\"");
    doubting.orders();
}

#[test]
fn mariadb_is_spoken_to_in_secret_and_only_if_somebody_vouches_for_it() {
    let certificates = Certificates::new();
    let database = MariaDb::start_private_with(&format!(
        "ssl-cert={}\nssl-key={}\nssl-ca={}",
        certificates.path("server.pem"),
        certificates.path("server.key"),
        certificates.path("authority.pem"),
    ))
    .unwrap();
    let url = database.url("store").unwrap();
    database.run("ALTER USER 'labo04'@'%' REQUIRE SSL").unwrap();
    let store = |mode: &str| Store::start(&[("DATABASE_URL", format!("{url}{mode}"))]);
    let vouched = |authority| format!("&ssl-ca={}", certificates.path(authority));
    // Without a word about it, a server that can is spoken to in secret.
    for mode in ["", "?ssl-mode=REQUIRED"] {
        let store = store(mode);
        store.comes_to("\"database\":\"ok\"");
        store.orders();
    }
    for mode in ["VERIFY_CA", "VERIFY_IDENTITY"] {
        let trusting = store(&format!("?ssl-mode={mode}{}", vouched("authority.pem")));
        trusting.comes_to("\"database\":\"ok\"");
        trusting.orders();
        let doubting = store(&format!("?ssl-mode={mode}{}", vouched("stranger.pem")));
        let refused = || doubting.ready().text().contains("\"database\":\"unavailable");
        assert!(eventually_within(soon(), refused), "{mode}: {}", doubting.ready().text());
    }
    let open = store("?ssl-mode=DISABLED");
    let refused = || open.ready().text().contains("\"database\":\"access denied");
    assert!(eventually_within(soon(), refused), "{}", open.ready().text());
}
