//! The forms of read-only mode that `docs/read-only.md` lists, each tried on a real registry (Debian's 2.8.2).

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use regsweep::config::RegistryConfig;

use crate::{fail_if_any, page};

/// A row of the table: what is set in the config and in the environment, and what a push is answered.
struct Form {
    row: String,
    enabled: Option<String>,
    variable: Option<(String, String)>,
    answer: String,
}

fn forms() -> Vec<Form> {
    let text = page("docs/read-only.md").text;
    let (_, table) = text.split_once("<!-- forms -->").expect("the table of forms");
    let (table, _) = table.split_once("<!-- end of forms -->").expect("the end of the table");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let forms = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let code = cells[1].split('`').skip(1).step_by(2);
        let (mut enabled, mut variable) = (None, None);
        for code in code {
            match (code.strip_prefix("enabled: "), code.split_once('=')) {
                (Some(value), _) => enabled = Some(value.to_owned()),
                (None, Some((name, value))) => variable = Some((name.to_owned(), value.to_owned())),
                (None, None) => panic!("{row}: what is `{code}`?"),
            }
        }
        Form { row: row.to_owned(), enabled, variable, answer: cells[2].to_owned() }
    });
    forms.collect()
}

/// Ends the process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ignored = self.0.kill();
        let _ignored = self.0.wait();
    }
}

/// What a push is answered: the status, or that the registry does not start.
fn ask(config: &str, variable: Option<&(String, String)>, port: u16) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    fs::write(&file, config.replace("FOLDER", &folder.path().display().to_string())).unwrap();
    let mut registry = Running(
        Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(variable.map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry must be installed: apt-get install docker-registry"),
    );
    let mut stream = loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            break stream;
        }
        if registry.0.try_wait().unwrap().is_some() {
            return "does not start".to_owned();
        }
        std::thread::sleep(Duration::from_millis(25));
    };
    let request = "PUT /v2/any/manifests/any HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn forms_of_read_only_mode_do_what_the_page_says() {
    let forms = forms();
    assert!(forms.len() >= 8, "{} forms were found: the search is broken", forms.len());
    let mut failures = Vec::new();
    for form in forms {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let read_only =
            form.enabled.as_ref().map(|enabled| format!("  maintenance:\n    readonly:\n      enabled: {enabled}\n"));
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: FOLDER/root\n{}http:\n  addr: 127.0.0.1:{port}\n",
            read_only.unwrap_or_default()
        );
        let answer = ask(&config, form.variable.as_ref(), port);
        if answer != form.answer {
            failures.push(format!("{}\n    docker-registry: {answer}", form.row));
        }
        let environment: Vec<(String, String)> = form.variable.into_iter().collect();
        let believed = RegistryConfig::parse(config.as_bytes(), &environment).is_ok_and(|config| config.read_only);
        if believed != (answer == "405") {
            failures.push(format!("{}\n    regsweep takes it for read-only: {believed}", form.row));
        }
    }
    fail_if_any(&failures);
}
