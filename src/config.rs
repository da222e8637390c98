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
mod yaml;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use self::yaml::{Kind, Value};
use crate::layout::shown_path;

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
        File::open(path).map_err(unreadable)?.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
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
            config.notes.push(format!("{name} is not UTF-8 and was left out"));
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
mod tests {
    //! Each line that begins with "seen" was tried with docker-registry 2.8.2 on 127.0.0.1: the config and the
    //! variables as they stand here, then `PUT /v2/a/manifests/b` with an empty body.

    use super::*;

    const FILE: &str = "version: 0.1\nhttp: {addr: 127.0.0.1:5000}\nstorage:\n  filesystem: {rootdirectory: /data}\n";
    const HEAD: &str = "version: 0.1\nhttp: {addr: 127.0.0.1:5000}\n";

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<RegistryConfig, ConfigError> {
        let environment: Vec<_> = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        RegistryConfig::parse(text.as_bytes(), &environment)
    }

    fn below_maintenance(text: &str) -> String {
        format!("{FILE}  maintenance: {text}\n")
    }

    #[test]
    fn read_only_counts_where_the_registry_starts_in_read_only_mode() {
        let table: &[(bool, &str)] = &[
            // seen: 405
            (true, "{readonly: {enabled: true}}"),
            (true, "{readonly: {enabled: yes}}"),
            (true, "{readonly: {enabled: on}}"),
            (true, "{readonly: {enabled: Y}}"),
            (true, "{readonly: {enabled: !!bool true}}"),
            (true, "{uploadpurging: {enabled: false}, readonly: {enabled: true}}"),
            (true, "\n    readonly:\n      enabled: true"),
            // seen: 400
            (false, "{readonly: {enabled: false}}"),
            (false, "{readonly: {enabled: off}}"),
            (false, "{readonly: {Enabled: true}}"),
            (false, "{readonly: {}}"),
            (false, ""),
            (false, "{}"),
        ];
        for (expected, text) in table {
            let config = parse(&below_maintenance(text), &[]).unwrap();
            assert_eq!(config.read_only, *expected, "{text}");
            assert_eq!(config.read_only_source.is_some(), *expected, "{text}");
            assert!(config.notes.is_empty(), "{text}: {:?}", config.notes);
        }
        let config = parse(&below_maintenance("\n    readonly:\n      enabled: yes"), &[]).unwrap();
        assert_eq!(config.read_only_source.as_deref(), Some("storage.maintenance.readonly.enabled: yes (line 7)"));
    }

    #[test]
    fn what_the_registry_panics_on_proves_nothing_and_is_told() {
        // seen: panic at start, each of them
        for text in [
            "{readonly: {enabled: 'true'}}",
            "{readonly: {enabled: \"true\"}}",
            "{readonly: {enabled: tRue}}",
            "{readonly: {enabled: 1}}",
            "{readonly: {enabled: ~}}",
            "{readonly: {enabled: }}",
            "{readonly: {enabled: !!str true}}",
            "{readonly: true}",
            "{readonly: [enabled]}",
            "{readonly: }",
            "{uploadpurging: false, readonly: {enabled: true}}",
            "{uploadpurging: {enabled: true}, readonly: {enabled: true}}",
        ] {
            let config = parse(&below_maintenance(text), &[]).unwrap();
            assert!(!config.read_only, "{text}");
            assert_eq!(config.notes.len(), 1, "{text}: {:?}", config.notes);
            assert!(config.notes[0].contains("panics at start"), "{text}: {:?}", config.notes);
        }
    }

    #[test]
    fn variables_count_as_the_registry_counts_them() {
        const READONLY: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY";
        const MAINTENANCE: &str = "REGISTRY_STORAGE_MAINTENANCE";
        const ENABLED: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED";
        const PURGING: &str = "REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED";
        let on = below_maintenance("{readonly: {enabled: true}}");
        let off = below_maintenance("{readonly: {enabled: false}}");
        let purging = below_maintenance(
            "{uploadpurging: {enabled: true, age: 168h, interval: 24h, dryrun: false}, readonly: {enabled: true}}",
        );
        let json = "{\"enabled\":true}";
        // (file, variables, read-only, notes)
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], bool, usize);
        let table: &[Row<'_>] = &[
            // seen: 405
            (FILE, &[(READONLY, json)], true, 0),
            (FILE, &[(READONLY, "enabled: yes")], true, 0),
            (FILE, &[("REGISTRY_STORAGE_MAINTENANCE_readonly", json)], true, 0),
            (FILE, &[(READONLY, "{\"enabled\":true}\n---\n{\"enabled\":false}")], true, 0),
            (FILE, &[(MAINTENANCE, "{\"readonly\":{\"enabled\":true}}")], true, 0),
            (&off, &[(READONLY, json)], true, 0),
            (
                FILE,
                &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /data}, maintenance: {readonly: {enabled: on}}}")],
                true,
                0,
            ),
            (&purging, &[(PURGING, "false")], true, 0),
            (&on, &[(ENABLED, "true")], true, 1),
            // seen: 400; the variable is ignored
            (&off, &[(ENABLED, "true")], false, 1),
            // seen: panic at start
            (FILE, &[(ENABLED, "true")], false, 2),
            (FILE, &[(READONLY, "true")], false, 1),
            (&on, &[(READONLY, "")], false, 1),
            (FILE, &[("REGISTRY_STORAGE_MAINTENANCE_READONLY_", "x")], false, 2),
            (&on, &[(PURGING, "false")], false, 1),
            // seen: 400; the whole section is replaced
            (&on, &[(MAINTENANCE, "")], false, 0),
            (&on, &[(MAINTENANCE, "null")], false, 0),
            (&on, &[(MAINTENANCE, "{}")], false, 0),
            (&on, &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /data}}")], false, 0),
            // seen: 405, the variable is ignored. Still no proof: somebody wanted it off.
            (&on, &[(ENABLED, "false")], false, 2),
            (FILE, &[(READONLY, json), (ENABLED, "false")], false, 2),
            // seen: 400 after a warning in the log; names that lead nowhere
            (
                FILE,
                &[("REGISTRY_PORT", "tcp://10.0.0.1:5000"), ("REGISTRY_", "[x"), ("REGISTRY_SERVICE_HOST", "1")],
                false,
                0,
            ),
            (FILE, &[("registry_storage", "s3"), ("OTHER_STORAGE", "s3")], false, 0),
        ];
        for (text, environment, expected, notes) in table {
            let config = parse(text, environment).unwrap();
            assert_eq!(config.read_only, *expected, "{environment:?}");
            assert_eq!(config.notes.len(), *notes, "{environment:?}: {:?}", config.notes);
            assert_eq!(config.root_directory, Path::new("/data"), "{environment:?}");
        }
        let config = parse(FILE, &[(READONLY, json)]).unwrap();
        let source = "storage.maintenance.readonly.enabled: true (REGISTRY_STORAGE_MAINTENANCE_READONLY)";
        assert_eq!(config.read_only_source.as_deref(), Some(source));
    }

    #[test]
    fn a_config_that_can_be_read_in_two_ways_is_refused() {
        let on = below_maintenance("{readonly: {enabled: true}}");
        for text in [
            // seen: the last one wins, 400 and 405
            below_maintenance("{readonly: {enabled: true, enabled: false}}"),
            below_maintenance("{readonly: {enabled: false, enabled: true}}"),
            // seen: 400, the second section replaces the first
            format!("{on}  maintenance: {{uploadpurging: {{enabled: false}}}}\n"),
            format!("{on}storage: {{filesystem: {{rootdirectory: /data}}}}\n"),
            // seen: the second `http` is merged into the first
            format!("{FILE}http: {{prefix: /x}}\n"),
            // seen: 405, the later << wins; the YAML merge type says 400
            format!("x: &on {{enabled: true}}\n{}", below_maintenance("{readonly: {enabled: false, <<: *on}}")),
        ] {
            assert!(matches!(parse(&text, &[]), Err(ConfigError::NotYaml { .. })), "{text}");
        }
    }

    #[test]
    fn anchors_and_merge_keys_count() {
        for (expected, text) in [
            // seen: 405, 405, 400, 405
            (
                true,
                "x: &on {enabled: true}\nstorage: {filesystem: {rootdirectory: /data}, maintenance: {readonly: *on}}\n",
            ),
            (
                true,
                "x: &on {enabled: true}\nstorage: {filesystem: {rootdirectory: /data}, maintenance: {readonly: {<<: \
                 *on}}}\n",
            ),
            (
                false,
                "x: &on {enabled: true}\nstorage: {filesystem: {rootdirectory: /data}, maintenance: {readonly: {<<: \
                 *on, enabled: false}}}\n",
            ),
            (
                true,
                "x: &on {maintenance: {readonly: {enabled: true}}}\nstorage: {filesystem: {rootdirectory: /data}, \
                 <<: *on}\n",
            ),
        ] {
            assert_eq!(parse(&format!("{HEAD}{text}"), &[]).unwrap().read_only, expected, "{text}");
        }
    }

    #[test]
    fn root_directory() {
        const ROOT: &str = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
        let table: &[Row<'_>] = &[
            ("storage: {filesystem: {rootdirectory: /data}}", &[], "/data"),
            ("storage: {filesystem: {rootdirectory: '/da ta'}}", &[], "/da ta"),
            ("storage: {filesystem: {rootdirectory: /data}}", &[(ROOT, "/other")], "/other"),
            (
                "storage: {filesystem: {rootdirectory: /data}}",
                &[("REGISTRY_STORAGE_FILESYSTEM", "{rootdirectory: /o}")],
                "/o",
            ),
            (
                "storage: {filesystem: {rootdirectory: /data}}",
                &[("REGISTRY_STORAGE", "filesystem"), (ROOT, "/o")],
                "/o",
            ),
            ("storage: filesystem", &[], "/var/lib/registry"),
            ("storage: {filesystem: }", &[], "/var/lib/registry"),
            ("storage: {filesystem: {}}", &[("REGISTRY_STORAGE_FILESYSTEM", "")], "/var/lib/registry"),
            ("storage: {filesystem: }", &[(ROOT, "/data")], "/data"),
            ("storage: inmemory", &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /data}}")], "/data"),
            ("storage: {s3: {bucket: x}}", &[("REGISTRY_STORAGE", "filesystem")], "/var/lib/registry"),
            (
                "storage: {filesystem: {rootdirectory: /data}, cache: {blobdescriptor: inmemory}, delete: {enabled: \
                 true}, redirect: {disable: true}, tag: {concurrencylimit: 5}}",
                &[],
                "/data",
            ),
        ];
        for (text, environment, expected) in table {
            let config = parse(&format!("{HEAD}{text}\n"), environment).unwrap();
            assert_eq!(config.root_directory, Path::new(expected), "{text} {environment:?}");
            assert!(config.notes.is_empty(), "{text}: {:?}", config.notes);
        }
        let config = parse(&format!("{HEAD}storage: {{filesystem: {{rootdirectory: data}}}}\n"), &[]).unwrap();
        assert!(config.notes[0].contains("relative"), "{:?}", config.notes);
    }

    #[test]
    fn what_is_refused_is_refused_in_one_line() {
        const BUCKET: &[(&str, &str)] = &[("REGISTRY_STORAGE_S3_BUCKET", "x")];
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
        let on = below_maintenance("{readonly: {enabled: true}}");
        let table: &[Row<'_>] = &[
            // seen: the registry refuses or panics, unless the comment says otherwise
            ("", &[], "version: 0.1 was expected, not \"\""),
            ("storage: filesystem\n", &[], "version: 0.1 was expected"),
            ("version: 0.2\nstorage: filesystem\n", &[], "not \"0.2\""),
            ("version: 0.10\nstorage: filesystem\n", &[], "not \"0.10\""),
            ("- a\n", &[], "the file: a mapping was expected, not a list"),
            (HEAD, &[], "no driver"),
            ("version: 0.1\nStorage: filesystem\n", &[], "no driver"),
            ("version: 0.1\nstorage: {maintenance: {readonly: {enabled: true}}}\n", &[], "no driver"),
            (FILE, &[("REGISTRY_STORAGE", "")], "no driver"),
            ("version: 0.1\nstorage: {filesystem: {}, inmemory: {}}\n", &[], "several drivers (filesystem, inmemory)"),
            (
                "version: 0.1\nstorage: {filesystem: {}, s3: {}}\n",
                &[("REGISTRY_STORAGE", "filesystem")],
                "several drivers",
            ),
            (FILE, BUCKET, "several drivers (filesystem, s3)"),
            (FILE, &[("REGISTRY_STORAGE_INMEMORY", "")], "several drivers (filesystem, inmemory)"),
            // a registry with s3 would start with this; regsweep has nothing to do there
            (FILE, &[("REGISTRY_STORAGE", "s3")], "the driver is `s3`"),
            ("version: 0.1\nstorage: {Filesystem: {rootdirectory: /data}}\n", &[], "the driver is `Filesystem`"),
            ("version: 0.1\nstorage: {filesystem: /data}\n", &[], "storage.filesystem: a mapping was expected"),
            (
                "version: 0.1\nstorage: {filesystem: {}, maintenance: true}\n",
                &[],
                "storage.maintenance: a mapping was expected, not `true`",
            ),
            (&on, &[("REGISTRY_STORAGE_MAINTENANCE", "abc")], "REGISTRY_STORAGE_MAINTENANCE: a mapping was expected"),
            (&on, &[("REGISTRY_STORAGE_", "x")], "REGISTRY_STORAGE_: a mapping was expected"),
            (
                FILE,
                &[("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{\"enabled\":true")],
                "REGISTRY_STORAGE_MAINTENANCE_READONLY, line 1",
            ),
            (FILE, &[("REGISTRY_HTTP_ADDR", "[::]:5000")], "REGISTRY_HTTP_ADDR"),
            ("version: 0.1\nhttp: foo\nstorage: filesystem\n", &[], "http: a mapping was expected"),
            ("version: 0.1\nstorage:\n  filesystem:\n\trootdirectory: /data\n", &[], "line 4"),
            // the registry starts and keeps its files in a folder `<nil>` or `8`
            ("version: 0.1\nstorage: {filesystem: {rootdirectory: }}\n", &[], "a path was expected, not nothing"),
            (FILE, &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "")], "a path was expected, not nothing"),
            ("version: 0.1\nstorage: {filesystem: {rootdirectory: 010}}\n", &[], "a path was expected, not `010`"),
            ("version: 0.1\nstorage: {filesystem: {rootdirectory: ''}}\n", &[], "a path was expected"),
            ("version: 0.1\nstorage: {filesystem: {rootdirectory: [/data]}}\n", &[], "a path was expected, not a list"),
        ];
        for (text, environment, expected) in table {
            let message = parse(text, environment).unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?} {environment:?}: {message}");
            assert!(!message.contains('\n'), "{message:?}");
        }
        let message = RegistryConfig::parse(b"version: \xff\n", &[]).unwrap_err().to_string();
        assert!(message.contains("not UTF-8 at byte 9"), "{message}");
    }

    #[test]
    fn the_address_becomes_a_url() {
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
        let table: &[Row<'_>] = &[
            ("{addr: ':5000'}", &[], Some("http://127.0.0.1:5000")),
            ("{addr: 0.0.0.0:5000}", &[], Some("http://127.0.0.1:5000")),
            ("{addr: '[::]:5000'}", &[], Some("http://127.0.0.1:5000")),
            ("{addr: '[::1]:5000'}", &[], Some("http://[::1]:5000")),
            ("{addr: localhost:5000, net: tcp}", &[], Some("http://localhost:5000")),
            ("{addr: 10.0.0.1:80, prefix: /x/}", &[], Some("http://10.0.0.1:80/x")),
            ("{addr: ':5000', prefix: /}", &[], Some("http://127.0.0.1:5000")),
            ("{addr: ':5000', tls: {certificate: /c, key: /k}}", &[], Some("https://127.0.0.1:5000")),
            ("{addr: ':5000', tls: {letsencrypt: {cachefile: /c}}}", &[], Some("https://127.0.0.1:5000")),
            ("{addr: ':5000', tls: {minimumtls: tls1.2}}", &[], Some("http://127.0.0.1:5000")),
            ("{addr: ':1'}", &[("REGISTRY_HTTP_ADDR", ":5000")], Some("http://127.0.0.1:5000")),
            ("{addr: ':1'}", &[("REGISTRY_HTTP", "{addr: ':5000'}")], Some("http://127.0.0.1:5000")),
            (
                "",
                &[("REGISTRY_HTTP_ADDR", ":5000"), ("REGISTRY_HTTP_TLS_CERTIFICATE", "/c")],
                Some("https://127.0.0.1:5000"),
            ),
            ("{addr: ':5', tls: {certificate: /c}}", &[("REGISTRY_HTTP_TLS", "{key: /k}")], Some("http://127.0.0.1:5")),
            ("{addr: ':5'}", &[("REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE", "/c")], Some("https://127.0.0.1:5")),
            (
                "{addr: ':5'}",
                &[("REGISTRY_HTTP_PREFIX", "/p"), ("REGISTRY_HTTP_ADDR_X", "[x")],
                Some("http://127.0.0.1:5/p"),
            ),
            ("{addr: /run/r.sock, net: unix}", &[], None),
            // seen: the registry refuses this one at start
            ("{addr: ':5000', net: tcp4}", &[], None),
            ("{addr: ':0'}", &[], None),
            ("{addr: ':http'}", &[], None),
            ("{addr: 'a b:5'}", &[], None),
            ("{addr: 'u:p@h:5'}", &[], None),
            ("{addr: '::1:5'}", &[], None),
            ("{addr: ':5', prefix: x}", &[], None),
            ("{addr: ':5', prefix: '/x?y'}", &[], None),
            ("{Addr: ':5'}", &[], None),
            ("", &[], None),
        ];
        for (text, environment, expected) in table {
            let config = parse(&format!("version: 0.1\nstorage: filesystem\nhttp: {text}\n"), environment).unwrap();
            assert_eq!(config.http_url.as_deref(), *expected, "{text} {environment:?}");
            assert_eq!(config.notes.is_empty(), expected.is_some(), "{text}: {:?}", config.notes);
        }
    }

    #[test]
    fn a_pull_through_cache_is_seen() {
        let proxy = format!("{FILE}proxy: {{remoteurl: 'https://registry.example.org'}}\n");
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
        let table: &[Row<'_>] = &[
            (FILE, &[], None),
            (&proxy, &[], Some("https://registry.example.org")),
            (FILE, &[("REGISTRY_PROXY_REMOTEURL", "https://r.example.org")], Some("https://r.example.org")),
            (FILE, &[("REGISTRY_PROXY", "{remoteurl: 'https://r.example.org'}")], Some("https://r.example.org")),
            (&proxy, &[("REGISTRY_PROXY_REMOTEURL", "")], None),
            (&proxy, &[("REGISTRY_PROXY_USERNAME", "u")], Some("https://registry.example.org")),
        ];
        for (text, environment, expected) in table {
            assert_eq!(parse(text, environment).unwrap().proxy_remote_url.as_deref(), *expected, "{environment:?}");
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_and_errors_name_it() {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(FILE.as_bytes()).unwrap();
        assert_eq!(RegistryConfig::read(file.path()).unwrap().root_directory, Path::new("/data"));
        file.write_all("#".repeat(1024 * 1024).as_bytes()).unwrap();
        let message = RegistryConfig::read(file.path()).unwrap_err().to_string();
        assert!(message.contains("larger than 1 MiB"), "{message}");
        let missing = RegistryConfig::read(Path::new("/nonexistent/config.yml")).unwrap_err().to_string();
        assert!(missing.starts_with("/nonexistent/config.yml: cannot be read"), "{missing}");
        let folder = RegistryConfig::read(Path::new("/")).unwrap_err().to_string();
        assert!(folder.starts_with("/: cannot be read"), "{folder}");
        let mut other = tempfile::NamedTempFile::new().unwrap();
        other.write_all(b"version: 0.1\n").unwrap();
        let message = RegistryConfig::read(other.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("{}: storage: no driver", other.path().display())), "{message}");
    }
}
