//! From YAML values to the three sections of the config that matter here.
//!
//! The types are those of distribution's `configuration/configuration.go`. What it cannot decode the registry refuses
//! at start, and so is it refused here; what it does not look at is not looked at here either.

use std::collections::BTreeMap;

use super::{ConfigError, Http, Sections, Storage};
use crate::yaml::{self, Kind, Mapping, Origin, Scalar, Value};

/// The sections of a whole config file.
pub(super) fn file(value: Option<&Value>) -> Result<Sections, ConfigError> {
    let empty = Mapping::default();
    let root = structure("the file", value)?.unwrap_or(&empty);
    let version = match root.get("version") {
        Some(value) => text("version", Some(value))?,
        None => String::new(),
    };
    if version != "0.1" {
        return Err(ConfigError::Version { found: yaml::short(&version) });
    }
    Ok(Sections {
        storage: storage(root.get("storage"))?,
        http: http(root.get("http"))?,
        proxy_remote_url: proxy(root.get("proxy"))?,
        notes: Vec::new(),
        doubts: Vec::new(),
    })
}

/// `storage:` is a mapping of sections, or the bare name of a driver.
pub(super) fn storage(value: Option<&Value>) -> Result<Storage, ConfigError> {
    let mut storage = Storage::new();
    match value {
        None => {}
        Some(value) if value.is_null() => {}
        Some(Value::Scalar(scalar)) => {
            storage.insert(scalar.as_text().to_owned(), Some(BTreeMap::new()));
        }
        Some(Value::Mapping(mapping)) => {
            for entry in &mapping.entries {
                let name = entry.key.as_text().to_owned();
                let parameters = parameters(&format!("storage.{name}"), Some(&entry.value))?;
                storage.insert(name, parameters);
            }
        }
        Some(other) => return Err(ConfigError::wrong_type("storage", "a mapping", other)),
    }
    Ok(storage)
}

/// One section of `storage`; `None` where it is empty.
pub(super) fn parameters(place: &str, value: Option<&Value>) -> Result<Option<BTreeMap<String, Value>>, ConfigError> {
    let pairs = structure(place, value)?
        .map(|mapping| mapping.entries.iter().map(|e| (e.key.as_text().to_owned(), e.value.clone())).collect());
    Ok(pairs)
}

pub(super) fn http(value: Option<&Value>) -> Result<Http, ConfigError> {
    let mut http = Http::default();
    if let Some(mapping) = structure("http", value)? {
        http.addr = text("http.addr", mapping.get("addr"))?;
        http.net = text("http.net", mapping.get("net"))?;
        http.prefix = text("http.prefix", mapping.get("prefix"))?;
        tls(&mut http, mapping.get("tls"))?;
    }
    Ok(http)
}

pub(super) fn tls(http: &mut Http, value: Option<&Value>) -> Result<(), ConfigError> {
    http.certificate = String::new();
    let mapping = structure("http.tls", value)?;
    if let Some(mapping) = mapping {
        http.certificate = text("http.tls.certificate", mapping.get("certificate"))?;
    }
    lets_encrypt(http, mapping.and_then(|mapping| mapping.get("letsencrypt")))
}

pub(super) fn lets_encrypt(http: &mut Http, value: Option<&Value>) -> Result<(), ConfigError> {
    let mapping = structure("http.tls.letsencrypt", value)?;
    let cache = mapping.and_then(|mapping| mapping.get("cachefile"));
    http.lets_encrypt_cache = text("http.tls.letsencrypt.cachefile", cache)?;
    Ok(())
}

pub(super) fn proxy(value: Option<&Value>) -> Result<String, ConfigError> {
    let mapping = structure("proxy", value)?;
    text("proxy.remoteurl", mapping.and_then(|mapping| mapping.get("remoteurl")))
}

/// What an empty payload leaves where any value may stand.
pub(super) fn null(variable: &str) -> Value {
    Value::Scalar(Scalar { text: String::new(), kind: Kind::Null, origin: Origin::Variable(variable.to_owned()) })
}

fn structure<'v>(place: &str, value: Option<&'v Value>) -> Result<Option<&'v Mapping>, ConfigError> {
    match value {
        None => Ok(None),
        Some(value) if value.is_null() => Ok(None),
        Some(Value::Mapping(mapping)) => Ok(Some(mapping)),
        Some(other) => Err(ConfigError::wrong_type(place, "a mapping", other)),
    }
}

fn text(place: &str, value: Option<&Value>) -> Result<String, ConfigError> {
    match value {
        None => Ok(String::new()),
        Some(Value::Scalar(scalar)) => Ok(scalar.as_text().to_owned()),
        Some(other) => Err(ConfigError::wrong_type(place, "a string", other)),
    }
}
