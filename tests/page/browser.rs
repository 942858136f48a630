//! Drives headless Chromium by its debugging pipe: messages of JSON that end with a NUL. It knows no page.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use netmon::clock::{self, MS, SECOND};
use serde_json::{Value, json};

/// How long anything may take; the machine may be busy.
const PATIENCE_NS: u64 = 30 * SECOND;
const PATIENCE: Duration = Duration::from_nanos(PATIENCE_NS);

/// The program, where there is one.
pub fn program() -> Option<&'static str> {
    let is_there = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(is_there)
}

/// One browser, with a folder of its own.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    next: u64,
    folder: PathBuf,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own processes, which a signal would leave behind.
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Browser {
    pub fn start(program: &str) -> Browser {
        let folder = std::env::temp_dir().join(format!("netmon-page-{}", std::process::id()));
        fs::create_dir_all(folder.join("downloads")).expect("a folder");
        // The pipe is descriptors 3 and 4.
        let script = "exec \"$0\" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir=\"$1\" \
                      --remote-debugging-pipe about:blank 3<&0 4>&1 1>/dev/null 2>\"$1/log\"";
        let mut child = Command::new("sh")
            .args(["-c", script, program])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let to = child.stdin.take().expect("piped");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let (said, from) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while lines.read_until(0, &mut message).is_ok_and(|n| n > 1) {
                message.pop();
                if said.send(serde_json::from_slice(&message).expect("JSON")).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Browser { child, to, from, next: 0, folder };
        let to_there = json!({"behavior": "allow", "downloadPath": browser.downloads()});
        browser.call("", "Browser.setDownloadBehavior", to_there);
        browser
    }

    /// Where files go that somebody downloads.
    pub fn downloads(&self) -> PathBuf {
        self.folder.join("downloads")
    }

    fn call(&mut self, session: &str, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !session.is_empty() {
            message["sessionId"] = session.into();
        }
        let mut bytes = serde_json::to_vec(&message).expect("JSON");
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser listens");
        loop {
            let mut answer = self.from.recv_timeout(PATIENCE).unwrap_or_else(|e| {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                panic!("{method}: {e}\n{log}")
            });
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// Opens an address, 1280 by 900 pixels large.
    pub fn open(&mut self, url: &str) -> Tab<'_> {
        let target = self.call("", "Target.createTarget", json!({"url": "about:blank"}))["targetId"].take();
        let session = self.call("", "Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        let session = session["sessionId"].as_str().expect("a session").to_owned();
        let mut tab = Tab { browser: self, target, session };
        tab.resize(1280, 900);
        tab.call("Page.navigate", json!({"url": url}));
        tab.until("location.protocol === 'http:' && document.readyState === 'complete'");
        tab
    }
}

/// One page.
pub struct Tab<'a> {
    pub browser: &'a mut Browser,
    target: Value,
    session: String,
}

impl Drop for Tab<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            let target = self.target.take();
            self.browser.call("", "Target.closeTarget", json!({"targetId": target}));
        }
    }
}

impl Tab<'_> {
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.browser.call(&self.session, method, parameters)
    }

    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    pub fn darken(&mut self) {
        let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
        self.call("Emulation.setEmulatedMedia", dark);
    }

    /// The value of an expression.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str) {
        let until_ns = clock::now().mono_ns + PATIENCE_NS;
        while self.value(&format!("Boolean({expression})")) != true {
            if clock::now().mono_ns > until_ns {
                let seen = self.value("document.body.innerText");
                panic!("never: {expression}\n{}", seen.as_str().unwrap_or_default());
            }
            clock::sleep_ns(50 * MS);
        }
    }

    /// Clicks into the middle of an element, as a mouse does.
    pub fn click(&mut self, selector: &str) {
        let at = self.value(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{block: 'center'}}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types into what has the focus.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// A key that has a name.
    pub fn press(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": "\r"});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Chooses from a list, as a person does who has opened it.
    pub fn choose(&mut self, selector: &str, value: &str) {
        self.value(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.value = {value:?}; \
             e.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"
        ));
    }

    /// Leaves a picture of what is seen.
    pub fn picture(&mut self, file: &Path) {
        let data = self.call("Page.captureScreenshot", json!({"format": "png"}))["data"].take();
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(data.as_str().expect("a picture"));
        fs::write(file, bytes.expect("base64")).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}
