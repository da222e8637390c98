//! The registry's environment overrides: `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data` and the like.
//!
//! The rules are those of distribution's `configuration/parser.go`. A variable's name, split at `_`, is a path into
//! the config; its value is YAML; variables are applied in the order of their names, so that the shorter ones come
//! first. What a path can reach depends on Go's types, and that decides which variables count:
//!
//! - structs (`http`, `http.tls`, `proxy`) take upper-case names of the fields they have and ignore all others;
//! - `storage` and each of its sections are maps with string keys: whatever the path names is made there, in lower
//!   case;
//! - a mapping *inside* such a section that was written as YAML has keys of any type, and no variable reaches into
//!   it: it is ignored (with a warning in the registry's log);
//! - a mapping that a longer path makes on its way down has string keys, and the registry panics where it expects the
//!   other kind. This is why `REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED=true` never makes a registry read-only.

use std::collections::BTreeMap;

use super::{ConfigError, Http, Sections, decode};
use crate::layout::shown;
use crate::yaml::{self, Kind, Value};

/// The environment form of read-only mode that works on 2.8 and on 3.x.
pub(super) const READ_ONLY_VARIABLE: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY='{\"enabled\":true}'";

/// Applies the variables that begin with `REGISTRY_` and lead into `storage`, `http` or `proxy`; no others matter
/// here.
pub(super) fn apply(sections: &mut Sections, environment: &[(String, String)]) -> Result<(), ConfigError> {
    let mut variables: Vec<&(String, String)> =
        environment.iter().filter(|(name, _)| name.starts_with("REGISTRY_")).collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, payload) in variables {
        let path: Vec<&str> = name.split('_').skip(1).collect();
        let variable = Variable { name, payload };
        match path.as_slice() {
            ["STORAGE"] => sections.storage = decode::storage(variable.value()?.as_ref())?,
            ["STORAGE", section, rest @ ..] => storage(sections, variable, section, rest)?,
            ["HTTP"] => sections.http = decode::http(variable.value()?.as_ref())?,
            ["HTTP", rest @ ..] => http(&mut sections.http, variable, rest)?,
            ["PROXY"] => sections.proxy_remote_url = decode::proxy(variable.value()?.as_ref())?,
            ["PROXY", "REMOTEURL"] => sections.proxy_remote_url = variable.text()?,
            _ => {}
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Variable<'a> {
    name: &'a str,
    payload: &'a str,
}

impl Variable<'_> {
    fn value(&self) -> Result<Option<Value>, ConfigError> {
        yaml::parse(self.payload, Some(self.name)).map_err(|problem| ConfigError::NotYaml {
            place: format!("{}, line {}, column {}", shown(self.name.as_bytes()), problem.line, problem.column),
            problem: problem.message,
        })
    }

    /// The value of a field of type string. An empty payload leaves it empty.
    fn text(&self) -> Result<String, ConfigError> {
        match self.value()? {
            None => Ok(String::new()),
            Some(Value::Scalar(scalar)) => Ok(scalar.as_text().to_owned()),
            Some(other) => Err(ConfigError::wrong_type(self.name, "a string", &other)),
        }
    }
}

fn http(http: &mut Http, variable: Variable<'_>, path: &[&str]) -> Result<(), ConfigError> {
    match path {
        ["ADDR"] => http.addr = variable.text()?,
        ["NET"] => http.net = variable.text()?,
        ["PREFIX"] => http.prefix = variable.text()?,
        ["TLS"] => decode::tls(http, variable.value()?.as_ref())?,
        ["TLS", "CERTIFICATE"] => http.certificate = variable.text()?,
        ["TLS", "LETSENCRYPT"] => decode::lets_encrypt(http, variable.value()?.as_ref())?,
        ["TLS", "LETSENCRYPT", "CACHEFILE"] => http.lets_encrypt_cache = variable.text()?,
        _ => {}
    }
    Ok(())
}

/// `REGISTRY_STORAGE_<section>` and what is below it.
fn storage(sections: &mut Sections, variable: Variable<'_>, section: &str, path: &[&str]) -> Result<(), ConfigError> {
    if let ("MAINTENANCE", ["READONLY", below, ..]) = (section, path) {
        sections.notes.push(format!(
            "{} proves nothing: the registry ignores it or panics at start; use {READ_ONLY_VARIABLE}",
            shown(variable.name.as_bytes())
        ));
        // Somebody wants it off, though the registry does not listen. Which of the two they rely on cannot be known.
        let says_true = match variable.value() {
            Ok(Some(Value::Scalar(scalar))) => scalar.kind == Kind::Bool(true),
            _ => false,
        };
        if *below == "ENABLED" && !says_true {
            sections.doubts.push(format!("{} does not say true", shown(variable.name.as_bytes())));
        }
    }
    if path.is_empty() {
        let parameters = decode::parameters(variable.name, variable.value()?.as_ref())?.unwrap_or_default();
        sections.storage.insert(section.to_lowercase(), Some(parameters));
        return Ok(());
    }
    let known = sections.storage.iter_mut().find(|(name, _)| name.to_uppercase() == section);
    if let Some((_, Some(parameters))) = known {
        return overwrite(parameters, variable, path);
    }
    let mut parameters = BTreeMap::new();
    overwrite(&mut parameters, variable, path)?;
    sections.storage.insert(section.to_lowercase(), Some(parameters));
    Ok(())
}

/// A map with string keys: one step down, or the value itself.
fn overwrite(map: &mut BTreeMap<String, Value>, variable: Variable<'_>, path: &[&str]) -> Result<(), ConfigError> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(());
    };
    if rest.is_empty() {
        let value = match variable.value()? {
            Some(value) => value,
            None => decode::null(variable.name),
        };
        map.insert(first.to_lowercase(), value);
        return Ok(());
    }
    match map.iter_mut().find(|(name, _)| name.to_uppercase() == *first) {
        Some((_, Value::Created(below))) => overwrite(below, variable, rest),
        // Written as YAML: the variable is ignored. A list or a plain value has nothing to step into.
        Some((_, value)) if !value.is_null() => Ok(()),
        _ => {
            let mut below = BTreeMap::new();
            overwrite(&mut below, variable, rest)?;
            map.insert(first.to_lowercase(), Value::Created(below));
            Ok(())
        }
    }
}
