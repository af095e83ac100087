//! A headless Chromium that does what it is told over a pair of pipes.
//!
//! Source: Chrome `DevTools` Protocol; `--remote-debugging-pipe` ends each message by a zero byte.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{eventually, prometheus, within};

/// Longest wait for an answer of the browser; its first start may take long.
const PATIENCE: Duration = Duration::from_mins(1);

/// How the protocol refuses what cannot be done now, such as an expression between two pages.
const SERVER_ERROR: i64 = -32000;

/// A browser with one page, until dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    child: Child,
    orders: File,
    answers: Receiver<Value>,
    session: Option<String>,
    number: u64,
    _folder: TempDir,
}

impl Browser {
    /// Starts it; `None` with a word about it where there is none.
    pub(crate) fn start() -> Option<Self> {
        let program = prometheus::find("chromium")?;
        let folder = tempfile::tempdir().unwrap();
        let pipes = ["orders", "answers"].map(|it| folder.path().join(it));
        for pipe in &pipes {
            mkfifo(pipe, Mode::S_IRWXU).unwrap();
        }
        let mut command = Command::new("sh");
        command.arg("-c").arg(
            "exec \"$0\" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
             --no-first-run --disable-extensions --disable-background-networking \
             --disable-component-update --hide-scrollbars --remote-debugging-pipe \
             --user-data-dir=\"$3\" about:blank 3<\"$1\" 4>\"$2\"",
        );
        command.arg(program).args(&pipes).arg(folder.path().join("profile"));
        command.env("HOME", folder.path()).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // In the order in which the shell opens them: each end waits for the other.
        let orders = OpenOptions::new().write(true).open(&pipes[0]).unwrap();
        let mut told = BufReader::new(File::open(&pipes[1]).unwrap());
        let (sender, answers) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while told.read_until(0, &mut message).is_ok_and(|it| it > 0) {
                message.pop();
                let value = serde_json::from_slice(&message).unwrap();
                if sender.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut browser =
            Self { child, orders, answers, session: None, number: 0, _folder: folder };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let asked = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &asked);
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        Some(browser)
    }

    /// What a method of the protocol returns.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.ask(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The same, or the refusal of the browser.
    fn ask(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        self.number += 1;
        let mut order = json!({"id": self.number, "method": method, "params": params});
        if let Some(session) = &self.session {
            order["sessionId"] = json!(session);
        }
        write!(self.orders, "{order}\0").unwrap();
        loop {
            let answer = self.answers.recv_timeout(PATIENCE).expect("the browser answers");
            if answer["id"] == self.number {
                return match answer.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(answer["result"].clone()),
                };
            }
        }
    }

    /// Opens a page and waits until it is there.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
        let there =
            || self.run("document.readyState") == "complete" && self.run("location.href") == url;
        // The first page of a browser is late on a busy machine.
        within(PATIENCE, "the page is there", there);
    }

    /// What an expression comes to in the page.
    pub(crate) fn run(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true});
        match self.ask("Runtime.evaluate", &asked) {
            Ok(result) => result["result"]["value"].clone(),
            // A page that is being replaced answers nothing; whoever asks asks again.
            Err(error) if error["code"] == SERVER_ERROR => Value::Null,
            Err(error) => panic!("{expression}: {error}"),
        }
    }

    /// How wide and high the page is, in its pixels; waits until it is laid out so.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        eventually("the page has its size", || {
            self.run("[innerWidth, innerHeight]") == json!([width, height])
        });
    }

    /// Which colors the reader prefers: `dark` or `light`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call("Emulation.setEmulatedMedia", &json!({"features": [feature]}));
    }

    /// The page as a PNG.
    pub(crate) fn photograph(&mut self) -> Vec<u8> {
        let taken = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
