//! The registry's own `config.yml`: where its files are, whether it is read-only, where it listens.
//!
//! # What is read
//!
//! `version`, `storage`, `http` and `proxy`, as distribution reads them (`configuration/configuration.go` and
//! `parser.go`, v2.8.2 and v3.1.1): YAML in the dialect of Go's `yaml.v2`, then the `REGISTRY_...` variables of the
//! environment. Every other section is skipped, so a config that the registry would refuse for the sake of, say, its
//! log level is still read here.
//!
//! # What it proves
//!
//! `storage.maintenance.readonly.enabled` counts only in a form with which the registry really starts in read-only
//! mode. Where it would ignore the setting or panic at start, [`RegistryConfig::read_only`] is false and a note says
//! why. A text that can be read in two ways (a key that occurs twice) is refused altogether.
//!
//! Nothing here is written, asked over the network, or run; a config cannot tell whether the running registry was
//! restarted since it was edited. That is what the probe is for.

mod decode;
mod environment;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::layout::{shown, shown_path};
use crate::yaml::{self, Kind, Value};

/// The largest config file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where a registry keeps its files when its config does not say (distribution, `driver/filesystem/driver.go`).
const DEFAULT_ROOT: &str = "/var/lib/registry";

/// Keys of `storage` that are not drivers. `tag` is known to 3.x only; 2.8.2 takes it for a second driver.
const NOT_DRIVERS: [&str; 5] = ["maintenance", "cache", "delete", "redirect", "tag"];

/// What a registry's config says, environment included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The storage root: the folder that holds `docker/registry/v2`. A relative one is as the config has it.
    pub root_directory: PathBuf,
    /// Whether a registry that is started with this config is in read-only mode. True only where that is certain.
    pub read_only: bool,
    /// Where `read_only` comes from, for a person: `storage.maintenance.readonly.enabled: true (line 9)`.
    pub read_only_source: Option<String>,
    /// The URL at which such a registry answers on this machine, from `http.addr`, `net`, `prefix` and `tls`. `None`
    /// where there is none that could be asked: a Unix socket, no address, port 0.
    pub http_url: Option<String>,
    /// `proxy.remoteurl`, if it is not empty: the registry is a pull-through cache, which writes on every pull.
    pub proxy_remote_url: Option<String>,
    /// What the operator should know, one sentence each: a variable that proves nothing, an address that cannot be
    /// asked.
    pub notes: Vec<String>,
}

/// Why a config is of no use. Each is one line: what is wrong, where, and what to do. None has a source, for each line
/// is complete by itself.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read ({reason}); give the registry's config.yml or its storage root", shown_path(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The file is larger than any config.
    #[error("{}: larger than 1 MiB, which no registry config is; give the registry's config.yml", shown_path(path))]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Another error, in this file.
    #[error("{}: {problem}", shown_path(path))]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong there.
        problem: Box<ConfigError>,
    },
    /// The text is not UTF-8.
    #[error("not UTF-8 at byte {at}; give the registry's config.yml as text")]
    NotText {
        /// The first byte that is wrong, counted from 0.
        at: usize,
    },
    /// The text, or the value of a variable, is not YAML or can be read in two ways.
    #[error("{place}: not YAML that can be read in one way only: {problem}; correct it there")]
    NotYaml {
        /// Line and column, and the variable if it is one.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A value is of a type that the registry refuses.
    #[error("{place}: {expected} was expected, not {found}; the registry refuses to start with this")]
    WrongType {
        /// The key, dotted, or the variable.
        place: String,
        /// The type that it should have.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// `version` is not 0.1.
    #[error("version: 0.1 was expected, not \"{found}\"; is this the config.yml of a registry?")]
    Version {
        /// The text behind `version:`, or nothing.
        found: String,
    },
    /// There is no storage driver.
    #[error("storage: no driver is named; add `filesystem: {{rootdirectory: ...}}` or give the storage root itself")]
    NoDriver,
    /// There are several storage drivers; the registry refuses that too, from the file as from the environment.
    #[error("storage: several drivers ({}), the registry refuses to start with them; leave one", drivers.join(", "))]
    SeveralDrivers {
        /// Their names, sorted.
        drivers: Vec<String>,
    },
    /// The storage driver is not `filesystem`.
    #[error("storage: the driver is `{driver}`; regsweep works on `filesystem` storage only")]
    OtherDriver {
        /// Its name.
        driver: String,
    },
    /// `rootdirectory` is not a path.
    #[error("storage.filesystem.rootdirectory: a path was expected, not {found}; write the path, in quotes")]
    RootDirectory {
        /// What is there.
        found: String,
    },
}

impl ConfigError {
    fn wrong_type(place: &str, expected: &'static str, found: &Value) -> Self {
        Self::WrongType { place: yaml::short(place), expected, found: found.describe() }
    }

    fn several(drivers: &[String]) -> Self {
        Self::SeveralDrivers { drivers: drivers.iter().map(|name| yaml::short(name)).collect() }
    }
}

/// `storage`: sections by name. An empty section is `None`, as Go's nil map.
type Storage = BTreeMap<String, Option<BTreeMap<String, Value>>>;

/// What is kept of `http`.
#[derive(Default)]
struct Http {
    addr: String,
    net: String,
    prefix: String,
    certificate: String,
    lets_encrypt_cache: String,
}

/// The sections that matter, and what was learned on the way.
struct Sections {
    storage: Storage,
    http: Http,
    proxy_remote_url: String,
    notes: Vec<String>,
    /// Reasons for which `read_only` must not be believed even if it is found.
    doubts: Vec<String>,
}

impl RegistryConfig {
    /// Reads a config file and applies the variables of this process's environment.
    ///
    /// A variable that is not UTF-8 is left out, with a note if the registry would have looked at it. The file is
    /// opened once, for reading, and never more than 1 MiB of it is read.
    ///
    /// # Errors
    /// The file cannot be read or is too large, and everything that [`RegistryConfig::parse`] refuses, with the
    /// file's name.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |reason| ConfigError::Unreadable { path: path.to_owned(), reason };
        let mut text = Vec::new();
        open(path).map_err(unreadable)?.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        }
        let mut environment = Vec::new();
        let mut skipped = Vec::new();
        for (name, value) in std::env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => environment.push((name, value)),
                (Ok(name), Err(_)) if name.starts_with("REGISTRY_") => skipped.push(name),
                _ => {}
            }
        }
        let mut config = Self::parse(&text, &environment)
            .map_err(|problem| ConfigError::InFile { path: path.to_owned(), problem: Box::new(problem) })?;
        for name in skipped {
            if name.starts_with("REGISTRY_STORAGE") {
                // The registry would not start with it: what the rest of the config says is not what runs.
                config.read_only = false;
                config.read_only_source = None;
            }
            config.notes.push(format!("{} is not UTF-8 and was left out", shown(name.as_bytes())));
        }
        Ok(config)
    }

    /// Reads a config from its text and from variables, pairs of name and value in any order.
    ///
    /// # Errors
    /// What the registry refuses to start with, as far as the sections that are read here go, and what can be read in
    /// two ways; see [`ConfigError`].
    pub fn parse(text: &[u8], environment: &[(String, String)]) -> Result<Self, ConfigError> {
        let text = std::str::from_utf8(text).map_err(|error| ConfigError::NotText { at: error.valid_up_to() })?;
        let document = yaml::parse(text, None).map_err(|problem| ConfigError::NotYaml {
            place: format!("line {}, column {}", problem.line, problem.column),
            problem: problem.message,
        })?;
        let mut sections = decode::file(document.as_ref())?;
        // The registry checks the file by itself before it looks at the environment; so `REGISTRY_STORAGE` does not
        // mend two drivers in the file.
        let in_file = drivers(&sections.storage);
        if in_file.len() > 1 {
            return Err(ConfigError::several(&in_file));
        }
        environment::apply(&mut sections, environment)?;

        let driver = match drivers(&sections.storage).as_slice() {
            [] => return Err(ConfigError::NoDriver),
            [driver] => driver.clone(),
            several => return Err(ConfigError::several(several)),
        };
        if driver != "filesystem" {
            return Err(ConfigError::OtherDriver { driver: yaml::short(&driver) });
        }
        let root_directory = root_directory(&mut sections)?;
        let read_only_source = read_only(&mut sections);
        let http_url = http_url(&mut sections);
        Ok(Self {
            root_directory,
            read_only: read_only_source.is_some(),
            read_only_source,
            http_url,
            proxy_remote_url: Some(sections.proxy_remote_url).filter(|url| !url.is_empty()),
            notes: sections.notes,
        })
    }
}

/// Opens a file, and does not wait for somebody who writes into a pipe: without anybody it is an empty text. One into
/// which somebody writes (`--config <(...)`) is read like any other.
fn open(path: &Path) -> std::io::Result<File> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(File::from(file))
}

/// The names of `storage` that are drivers, sorted.
fn drivers(storage: &Storage) -> Vec<String> {
    storage.keys().filter(|name| !NOT_DRIVERS.contains(&name.as_str())).cloned().collect()
}

/// `storage.filesystem.rootdirectory`.
///
/// The registry prints whatever stands there into a path: nothing becomes a folder named `<nil>` in its working
/// directory, `010` becomes `8` (both seen with 2.8.2). Neither can be meant, so only a string is taken.
fn root_directory(sections: &mut Sections) -> Result<PathBuf, ConfigError> {
    let value = match sections.storage.get("filesystem") {
        Some(Some(parameters)) => parameters.get("rootdirectory"),
        _ => None,
    };
    let Some(value) = value else {
        return Ok(PathBuf::from(DEFAULT_ROOT));
    };
    let path = match value {
        Value::Scalar(scalar) if scalar.kind == Kind::Text && !scalar.text.is_empty() => PathBuf::from(&scalar.text),
        other => {
            return Err(ConfigError::RootDirectory { found: other.describe() });
        }
    };
    if path.is_relative() {
        sections.notes.push(format!(
            "rootdirectory {} is relative: it is taken from the current folder, the registry takes it from its own",
            shown_path(&path)
        ));
    }
    Ok(path)
}

/// Where read-only mode is switched on, if it is beyond doubt.
///
/// The registry (`handlers/app.go`) wants `readonly` to be a mapping with keys of any type, and `enabled` in it to be
/// a boolean; it panics at start otherwise. So it does for an `uploadpurging` that it cannot use, which is looked at
/// too because `REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED=false` makes just such a one.
fn read_only(sections: &mut Sections) -> Option<String> {
    let Some(Some(maintenance)) = sections.storage.get("maintenance") else {
        return None;
    };
    let mut doubts = std::mem::take(&mut sections.doubts);
    match maintenance.get("uploadpurging") {
        None => {}
        Some(Value::Mapping(purging)) => doubts.extend(upload_purging(purging)),
        Some(other) => doubts.push(panics("storage.maintenance.uploadpurging", other, "a mapping")),
    }
    let mut source = None;
    match maintenance.get("readonly") {
        None => {}
        Some(Value::Mapping(mapping)) => match mapping.get("enabled") {
            None => {}
            Some(Value::Scalar(scalar)) => match scalar.kind {
                Kind::Bool(true) => {
                    source = Some(format!("storage.maintenance.readonly.enabled: {} ({})", scalar.text, scalar.origin));
                }
                Kind::Bool(false) => {}
                _ => doubts.push(panics(
                    "storage.maintenance.readonly.enabled",
                    &Value::Scalar(scalar.clone()),
                    "a boolean without quotes",
                )),
            },
            Some(other) => doubts.push(panics("storage.maintenance.readonly.enabled", other, "a boolean")),
        },
        Some(other) => doubts.push(panics("storage.maintenance.readonly", other, "a mapping with `enabled`")),
    }
    if doubts.is_empty() {
        return source;
    }
    for doubt in doubts {
        sections.notes.push(format!("the config proves no read-only mode: {doubt}"));
    }
    None
}

/// Why the registry panics over this `uploadpurging`, if it does (`handlers/app.go`, `startUploadPurger`): unless it
/// is disabled it needs all three of its other keys. Whether Go can parse the durations is left to Go.
fn upload_purging(purging: &yaml::Mapping) -> Option<String> {
    let kind = |key: &str| match purging.get(key) {
        Some(Value::Scalar(scalar)) => Some(scalar.kind),
        _ => None,
    };
    if kind("enabled") == Some(Kind::Bool(false)) {
        return None;
    }
    let missing = if kind("age") != Some(Kind::Text) {
        "an `age` such as 168h"
    } else if kind("interval") != Some(Kind::Text) {
        "an `interval` such as 24h"
    } else if !matches!(kind("dryrun"), Some(Kind::Bool(_))) {
        "a `dryrun` that is a boolean"
    } else {
        return None;
    };
    Some(format!("storage.maintenance.uploadpurging lacks {missing}, the registry panics at start"))
}

/// A value with which the registry panics at start.
fn panics(place: &str, found: &Value, expected: &str) -> String {
    let made = if matches!(found, Value::Created(_)) { " made by an environment variable" } else { "" };
    format!("{place} is {}{made}, the registry panics at start unless it is {expected}", found.describe())
}

/// The URL at which this machine reaches the registry that the config describes.
///
/// An address without a host, `0.0.0.0` and `[::]` all mean every interface, IPv4 included (Go's `net.Listen`), so
/// `127.0.0.1` reaches them. Whether that is this registry's `127.0.0.1`, and not that of a container, cannot be
/// known here.
fn http_url(sections: &mut Sections) -> Option<String> {
    let http = &sections.http;
    let why_not = match http.net.as_str() {
        "unix" => format!("http.net is `unix`: the registry at {} cannot be asked", yaml::short(&http.addr)),
        "" | "tcp" => match url(http) {
            Ok(url) => return Some(url),
            Err(why_not) => why_not,
        },
        other => format!("http.net is `{}`: the registry refuses to start with it", yaml::short(other)),
    };
    sections.notes.push(format!("{why_not}, so --registry URL has to say where it answers"));
    None
}

fn url(http: &Http) -> Result<String, String> {
    let addr = http.addr.as_str();
    if addr.is_empty() {
        return Err("http.addr is not set".to_owned());
    }
    let unusable = || format!("http.addr `{}` is no address with a port", yaml::short(addr));
    let (host, port) = addr.rsplit_once(':').ok_or_else(unusable)?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or_else(unusable)?;
    let host = match host {
        "" | "0.0.0.0" | "[::]" => "127.0.0.1",
        host => host,
    };
    let name = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || (c == ':' && name != host);
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(unusable());
    }
    let prefix = http.prefix.trim_end_matches('/');
    if !prefix.is_empty() && !prefix.starts_with('/') {
        // Seen with 2.8.2: `prefix: x` answers 404 at /v2/ and at /x/v2/; `/x` and `/x/` both answer at /x/v2/.
        return Err(format!("http.prefix `{}` does not begin with /", yaml::short(prefix)));
    }
    if prefix.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '%')) {
        return Err(format!("http.prefix `{}` is no plain path", yaml::short(prefix)));
    }
    let tls = !http.certificate.is_empty() || !http.lets_encrypt_cache.is_empty();
    Ok(format!("{}://{host}:{port}{prefix}", if tls { "https" } else { "http" }))
}

#[cfg(test)]
mod tests;
