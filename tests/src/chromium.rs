//! A real Chromium without a window, asked through the pipe that it takes instructions from.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::programs::repository;

/// How long it may take for an answer: a page is there in less than a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Cut off from every network; instructions come on file 3, answers go to file 4.
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://127.0.0.1:9",
    "--remote-debugging-pipe",
];

/// A browser with one page; it ends when this is dropped.
#[derive(Debug)]
pub struct Chromium {
    process: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    asked: u64,
    session: Option<String>,
    heard: Vec<Value>,
    folder: TempDir,
}

/// How a screen looks, by its pixels.
#[derive(Debug)]
pub struct Pixels {
    /// Red, green and blue of the top left corner: that of the page's own ground.
    pub ground: [u8; 3],
    /// Different colours.
    pub colors: u64,
    /// How much of it is not of the ground's colour, in percent.
    pub drawn_percent: f64,
}

/// Whether Chromium was fetched. Where it was not, that has to be said.
///
/// # Panics
/// When it was not, and `DARWINLM_WITHOUT_CHROMIUM` does not say so.
pub fn is_there() -> bool {
    let chromium = home().join("chromium");
    if chromium.exists() {
        return true;
    }
    assert!(
        std::env::var_os("DARWINLM_WITHOUT_CHROMIUM").is_some_and(|set| !set.is_empty()),
        "there is no {}: `make chromium` fetches it; with DARWINLM_WITHOUT_CHROMIUM=1 the report is not \
         looked at in a browser",
        chromium.display()
    );
    println!("NOT CHECKED: DARWINLM_WITHOUT_CHROMIUM is set, and there is no Chromium");
    false
}

/// Where `make chromium` puts it.
fn home() -> PathBuf {
    repository().join(".cache/chromium")
}

impl Chromium {
    /// Starts one and opens a page, which is there with all it fetches when this returns.
    ///
    /// # Panics
    /// When it does not start or the page does not load: with what it said.
    pub fn open(page: &Path) -> Self {
        let mut browser = Self::start();
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.ask("Target.attachToTarget", target);
        browser.session = session["sessionId"].as_str().map(ToOwned::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser.heard.clear();
        let url = format!("file://{}", page.display());
        browser.ask("Page.navigate", json!({"url": url}));
        browser.await_event("Page.loadEventFired");
        browser.await_quiet();
        browser
    }

    fn start() -> Self {
        let folder = TempDir::with_prefix("darwinlm-chromium-").expect("a folder can be made");
        let log = fs::File::create(folder.path().join("log")).expect("a log can be made");
        let profile = format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        );
        let mut process = Command::new("bash")
            .args(["-c", r#"exec "$@" 3<&0 4>&1 0</dev/null 1>&2"#, "bash"])
            .arg(home().join("chromium"))
            .args(FLAGS)
            .arg(profile)
            .env("LD_LIBRARY_PATH", home().join("lib"))
            .env("FONTCONFIG_FILE", home().join("fonts.conf"))
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("bash can be started");
        let to = process.stdin.take().expect("standard input is piped");
        let answers = process.stdout.take().expect("standard output is piped");
        let (sender, from) = channel();
        std::thread::spawn(move || {
            for answer in BufReader::new(answers).split(0) {
                let Ok(answer) = answer else { return };
                let answer = serde_json::from_slice(&answer).expect("Chromium answers in JSON");
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            to,
            from,
            asked: 0,
            session: None,
            heard: Vec::new(),
            folder,
        }
    }

    /// Makes the screen so wide, and light or dark.
    pub fn look(&mut self, width: u32, height: u32, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", scheme);
    }

    /// The value of an expression on the page.
    ///
    /// # Panics
    /// When it has none.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
        });
        let answer = self.ask("Runtime.evaluate", asked);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// A picture of the screen, as base64 of a PNG.
    ///
    /// # Panics
    /// When none can be taken.
    pub fn screenshot(&mut self) -> String {
        let answer = self.ask("Page.captureScreenshot", json!({}));
        answer["data"].as_str().expect("it is a PNG").to_owned()
    }

    /// What is on the screen.
    ///
    /// # Panics
    /// When no picture of it can be taken.
    pub fn pixels(&mut self) -> Pixels {
        let picture = self.screenshot();
        let told = self.value(&format!(
            "(async () => {{ \
               const image = new Image(); image.src = 'data:image/png;base64,{picture}'; await image.decode(); \
               const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d'); \
               canvas.drawImage(image, 0, 0); \
               const bytes = canvas.getImageData(0, 0, image.width, image.height).data; \
               const ground = [bytes[0], bytes[1], bytes[2]]; const colors = new Set(); let drawn = 0; \
               for (let at = 0; at < bytes.length; at += 4) {{ \
                 const color = (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2]; colors.add(color); \
                 drawn += color !== ((ground[0] << 16) | (ground[1] << 8) | ground[2]); \
               }} \
               return [ground, colors.size, 400 * drawn / bytes.length]; \
             }})()"
        ));
        let channel = |at: usize| {
            let value = told[0][at].as_u64().and_then(|value| value.try_into().ok());
            value.expect("a channel is a byte")
        };
        Pixels {
            ground: [channel(0), channel(1), channel(2)],
            colors: told[1].as_u64().expect("colours are counted"),
            drawn_percent: told[2].as_f64().expect("it is a share"),
        }
    }

    /// The page on paper, as base64 of a PDF.
    ///
    /// # Panics
    /// When it cannot be printed.
    pub fn print(&mut self) -> String {
        let answer = self.ask("Page.printToPDF", json!({}));
        answer["data"].as_str().expect("it is a PDF").to_owned()
    }

    /// The URLs that were asked for since the page was opened.
    pub fn requests(&self) -> Vec<String> {
        let asked = self.heard.iter();
        let asked = asked.filter(|event| event["method"] == "Network.requestWillBeSent");
        asked
            .map(|event| event["params"]["request"]["url"].to_string())
            .collect()
    }

    /// Everything that stands in the console: words of the page, of the browser, and exceptions.
    pub fn console(&self) -> Vec<String> {
        let methods = [
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
        ];
        let heard = self.heard.iter();
        let heard = heard.filter(|event| methods.iter().any(|&method| event["method"] == method));
        heard.map(Value::to_string).collect()
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let sent = write!(self.to, "{message}\0").and_then(|()| self.to.flush());
        assert!(sent.is_ok(), "Chromium is gone: {}", self.said());
        loop {
            let answer = self.next(method);
            if answer["id"] == self.asked {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.heard.push(answer);
        }
    }

    fn await_event(&mut self, method: &str) {
        while !self.heard.iter().any(|event| event["method"] == method) {
            let event = self.next(method);
            self.heard.push(event);
        }
    }

    /// Waits until every request has ended, and the console holds what is said of those that failed.
    fn await_quiet(&mut self) {
        while !self.is_quiet() {
            let event = self.next("Network.loadingFinished");
            self.heard.push(event);
        }
        // What was said before this answer was heard before it.
        self.value("0");
    }

    fn is_quiet(&self) -> bool {
        let of = |methods: &[&str]| -> BTreeSet<String> {
            let heard = self.heard.iter();
            let heard = heard.filter(|event| methods.iter().any(|&one| event["method"] == one));
            heard
                .map(|event| event["params"]["requestId"].to_string())
                .collect()
        };
        let ended = of(&["Network.loadingFinished", "Network.loadingFailed"]);
        of(&["Network.requestWillBeSent"]).is_subset(&ended)
    }

    fn next(&self, method: &str) -> Value {
        let next = self.from.recv_timeout(PATIENCE);
        next.unwrap_or_else(|error| panic!("{method}: {error}; Chromium said: {}", self.said()))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its other processes end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
