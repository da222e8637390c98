//! A real browser, Chromium without a window, driven over its debugging pipe.
//!
//! Messages are JSON, each ended by a NUL; the browser reads them from its file descriptor 3 and answers on 4. A
//! child's descriptors cannot be set without unsafe code, so a shell opens two named pipes as those and becomes the
//! browser.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use regsweep::report::html::{Page, write};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Long enough for a large page in a debug build on a busy machine, short enough to call it a hang.
const DEADLINE: Duration = Duration::from_secs(120);

/// What each page hears before its own script: whether something ran that came in with a name, and what the policy had
/// to forbid.
const WATCH: &str = "window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) => {
        window.violations.push(event.violatedDirective + ' ' + event.blockedURI);
    });
    window.alert = () => { window.ran = 'alert'; };";

/// A browser with one page in it. It ends with this value, whatever happens.
pub(crate) struct Browser {
    child: Child,
    to: Option<File>,
    from: Receiver<Value>,
    next: u64,
    session: Option<String>,
    events: Vec<Value>,
    file: String,
    folder: TempDir,
    is_script_on: bool,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser leads a group of its own, in which all its processes are.
        drop(self.to.take());
        if let Ok(id) = i32::try_from(self.child.id())
            && let Some(group) = rustix::process::Pid::from_raw(id)
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Browser {
    /// Starts one. Nothing is open in it yet.
    pub(crate) fn start() -> Browser {
        let folder = tempfile::tempdir().unwrap();
        let pipe = |name: &str| {
            let path = folder.path().join(name);
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            path
        };
        let (to, from) = (pipe("to"), pipe("from"));
        let profile = folder.path().join("profile");
        let mut command = Command::new("sh");
        command.arg("-c").arg(r#"in=$0 out=$1; shift; exec chromium "$@" 3<"$in" 4>"$out""#).arg(&to).arg(&from);
        command.arg("--headless").arg("--remote-debugging-pipe").arg(format!("--user-data-dir={}", profile.display()));
        command.args(["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"]);
        // Nothing is asked of the network, whoever would.
        command.args(["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--disable-sync"]);
        command.args(["--disable-component-update", "--force-color-profile=srgb", "--lang=en"]);
        if rustix::process::geteuid().is_root() {
            command.arg("--no-sandbox");
        }
        let said = File::create(folder.path().join("said")).unwrap();
        command.env("HOME", folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).process_group(0);
        let child = command.spawn().unwrap();
        // Each of these waits for the shell to open the other end.
        let (to, from) = (File::options().write(true).open(&to).unwrap(), File::open(&from).unwrap());
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut message = Vec::new();
            while from.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { break };
                if sender.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let file = String::new();
        let (to, from) = (Some(to), receiver);
        let mut browser =
            Browser { child, to, from, next: 0, session: None, events: Vec::new(), file, folder, is_script_on: true };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", target);
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Network", "Log", "DOM", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": WATCH}));
        browser
    }

    /// Starts one and opens this page, in a window of 1280 by 900.
    pub(crate) fn open(page: &Page<'_>) -> Browser {
        let mut browser = Browser::start();
        browser.set_window(1280, 900);
        browser.go_to(page);
        browser
    }

    /// Opens this page from a file.
    pub(crate) fn go_to(&mut self, page: &Page<'_>) {
        let path = self.folder.path().join("page.html");
        write(&mut File::create(&path).unwrap(), page).unwrap();
        self.file = format!("file://{}", path.display());
        self.reload();
    }

    /// Opens a page that a command has written.
    pub(crate) fn go_to_file(&mut self, path: &Path) {
        self.file = format!("file://{}", path.display());
        self.reload();
    }

    /// Opens the same file again.
    pub(crate) fn reload(&mut self) {
        self.events.clear();
        let answer = self.call("Page.navigate", json!({"url": self.file}));
        assert!(answer["errorText"].is_null(), "{answer}");
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let message = self.receive();
            self.events.push(message);
        }
    }

    /// Calls a method, and waits for its answer.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        if let Err(error) = self.to.as_mut().unwrap().write_all(&bytes) {
            self.is_mute(&format!("{method}: the browser does not listen ({error})"));
        }
        loop {
            let mut message = self.receive();
            if message["id"] == self.next {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    fn receive(&mut self) -> Value {
        self.from
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|error| self.is_mute(&format!("the browser does not answer ({error})")))
    }

    fn is_mute(&self, what: &str) -> ! {
        panic!(
            "{what}; if it is not installed: `apt-get install chromium` on Debian, or run ./scripts/test, which installs \
             it. It said:\n{}",
            self.said()
        );
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// What an expression is, in the page.
    #[track_caller]
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// [`Browser::eval`] of an expression that is text.
    #[track_caller]
    pub(crate) fn text(&mut self, expression: &str) -> String {
        let value = self.eval(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}")).to_owned()
    }

    /// [`Browser::eval`] of an expression that is a list of texts.
    #[track_caller]
    pub(crate) fn texts(&mut self, expression: &str) -> Vec<String> {
        let value = self.eval(expression);
        let list = value.as_array().unwrap_or_else(|| panic!("{expression} is {value}"));
        list.iter().map(|text| text.as_str().unwrap_or_else(|| panic!("{expression} has {text}")).to_owned()).collect()
    }

    /// Waits until what has changed is drawn.
    pub(crate) fn settle(&mut self) {
        if !self.is_script_on {
            // There are no frames to ask for; what asks for the layout has to wait for it.
            self.call("Page.getLayoutMetrics", json!({}));
            return;
        }
        self.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))");
    }

    /// Presses a key, such as `Enter`, `ArrowDown`, `Tab` or `a`, and lets it go.
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            " " => 32,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => 0,
        };
        let mut down = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
        if key == "Enter" {
            down["text"] = json!("\r");
        } else if key.chars().count() == 1 {
            down["text"] = json!(key);
        }
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}));
        self.settle();
    }

    /// Types a text into what has the focus.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
        self.settle();
    }

    /// Clicks into the middle of the first element that an expression gives.
    #[track_caller]
    pub(crate) fn click(&mut self, element: &str) {
        let place = self.eval(&format!(
            "(() => {{ const element = {element}; element.scrollIntoView({{ block: 'center' }});
             const place = element.getBoundingClientRect();
             return [place.x + place.width / 2, place.y + place.height / 2]; }})()"
        ));
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": button, "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
        self.settle();
    }

    /// Gives the window a size.
    pub(crate) fn set_window(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// `light` or `dark`.
    pub(crate) fn set_theme(&mut self, theme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
        self.settle();
    }

    /// Whether scripts of pages run.
    pub(crate) fn set_script(&mut self, is_on: bool) {
        self.is_script_on = is_on;
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": !is_on}));
    }

    /// Where `REGSWEEP_PAGE_SHOTS` names a folder: two pictures into it, of the whole page and of how it begins.
    pub(crate) fn shoot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("REGSWEEP_PAGE_SHOTS") else { return };
        fs::create_dir_all(&folder).unwrap();
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
        // Longer pictures than this show nothing that the beginning does not.
        for (part, most) in [("", 5000.0), ("-top", 1100.0)] {
            let height = size["height"].as_f64().unwrap().min(most);
            let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1});
            let parameters = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
            let picture = self.call("Page.captureScreenshot", parameters);
            let encoded = self.folder.path().join("picture");
            fs::write(&encoded, picture["data"].as_str().unwrap()).unwrap();
            let file = File::create(Path::new(&folder).join(format!("{name}{part}.png"))).unwrap();
            assert!(Command::new("base64").arg("-d").arg(&encoded).stdout(file).status().unwrap().success());
        }
    }

    /// Nothing went wrong that nobody sees: nothing was logged, thrown or forbidden, nothing ran that should not, and
    /// nothing was asked for but the page itself.
    #[track_caller]
    pub(crate) fn assert_quiet(&mut self) {
        let violations = self.eval("window.violations ?? []");
        assert_eq!(violations, json!([]), "the policy forbade something");
        assert_eq!(self.eval("window.ran ?? null"), Value::Null, "a name has run");
        let loud = ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"];
        let said: Vec<&Value> =
            self.events.iter().filter(|event| loud.iter().any(|method| event["method"] == *method)).collect();
        assert!(said.is_empty(), "{said:#?}");
        let requested: Vec<&str> = self
            .events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent")
            .filter_map(|event| event["params"]["request"]["url"].as_str())
            .collect();
        assert_eq!(requested, [self.file.as_str()], "only the page itself is asked for");
    }
}
