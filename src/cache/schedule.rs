//! `scheduler-state.json`: when a cache lets go of what, as the registry writes it.
//!
//! One JSON object. Its keys are references (`library/app@sha256:...`), its values say when the registry removes what
//! the key names (`ExpiryData`) and what that is (`EntryType`: 0 a layer link and its blob, 1 a manifest's revision
//! link). Format and meaning: distribution, `registry/proxy/scheduler/scheduler.go`. Entries that stay keep their
//! bytes.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::plan::Plan;

/// Its name, in the storage root.
pub const STATE: &str = "scheduler-state.json";
/// How many bytes are read at most: some 1.5 million entries.
pub const MAX_STATE_BYTES: u64 = 512 << 20;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    LayerLink,
    Revision,
}

/// All entries.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<String, Box<RawValue>>,
}

impl Schedule {
    /// Reads the file's bytes.
    ///
    /// # Errors
    /// One clause that says why it is none. The registry does not start with such a file either.
    pub fn parse(bytes: &[u8]) -> Result<Schedule, String> {
        if bytes.is_empty() {
            return Err("it is empty".to_owned());
        }
        let entries: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match entries.iter().find(|(_, entry)| !entry.get().starts_with('{')) {
            Some((key, _)) => Err(format!("its entry {} is no object", crate::layout::shown(key.as_bytes()))),
            None => Ok(Schedule { entries }),
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the registry has noted that it fetched this manifest for this repository.
    pub fn has_manifest(&self, repository: &str, manifest: &Digest) -> bool {
        self.has(repository, manifest, Kind::Revision)
    }

    /// Whether the registry has noted that it fetched this layer or config for this repository.
    pub fn has_layer(&self, repository: &str, layer: &Digest) -> bool {
        self.has(repository, layer, Kind::LayerLink)
    }

    fn has(&self, repository: &str, digest: &Digest, wanted: Kind) -> bool {
        let entry = self.entries.get(&format!("{repository}@{digest}"));
        entry.and_then(|entry| kind(entry)) == Some(wanted)
    }

    /// The entries of what a plan takes: revision links and layer links.
    pub fn taken_by(&self, plan: &Plan) -> Vec<(String, String)> {
        let mut gone: HashSet<(String, Kind)> = HashSet::new();
        for repository in &plan.repositories {
            let key = |digest: &Digest| format!("{}@{digest}", repository.name);
            gone.extend(repository.revisions.iter().map(|(digest, _)| (key(digest), Kind::Revision)));
            gone.extend(repository.layer_links.iter().map(|digest| (key(digest), Kind::LayerLink)));
        }
        let both = [Kind::LayerLink, Kind::Revision];
        let goes = |key: &String, entry: &RawValue| {
            let is_named = |kind| gone.contains(&(key.clone(), kind));
            both.into_iter().any(is_named) && kind(entry).is_some_and(is_named)
        };
        let taken = self.entries.iter().filter(|(key, entry)| goes(key, entry));
        taken.map(|(key, entry)| (key.clone(), entry.get().to_owned())).collect()
    }

    /// Without these.
    pub fn remove<'k>(&mut self, keys: impl IntoIterator<Item = &'k String>) {
        for key in keys {
            self.entries.remove(key);
        }
    }

    /// Puts entries back that are not there now, and says how many those were. What is no entry is passed over.
    pub fn put_back(&mut self, entries: impl IntoIterator<Item = (String, String)>) -> usize {
        let before = self.entries.len();
        for (key, entry) in entries {
            if let Ok(entry) = RawValue::from_string(entry)
                && kind(&entry).is_some()
            {
                self.entries.entry(key).or_insert(entry);
            }
        }
        self.entries.len() - before
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * 320);
        bytes.push(b'{');
        for (place, (key, entry)) in self.entries.iter().enumerate() {
            if place > 0 {
                bytes.push(b',');
            }
            bytes.extend(serde_json::Value::from(key.as_str()).to_string().into_bytes());
            bytes.push(b':');
            bytes.extend(entry.get().as_bytes());
        }
        bytes.push(b'}');
        bytes
    }
}

/// What an entry is about; `None` for what nobody here knows, and that stays.
fn kind(entry: &RawValue) -> Option<Kind> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(rename = "EntryType")]
        kind: u64,
    }
    match serde_json::from_str::<Entry>(entry.get()).ok()?.kind {
        0 => Some(Kind::LayerLink),
        1 => Some(Kind::Revision),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::layout::RepositoryName;
    use crate::plan::{Reason, RepositoryPlan};

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    fn entry(key: &str, kind: u64) -> String {
        format!(r#"{{"Key":"{key}","ExpiryData":"2026-11-29T03:54:36.013327816Z","EntryType":{kind}}}"#)
    }

    #[test]
    fn what_is_no_schedule_is_none() {
        for (text, why) in [
            ("", "it is empty"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("[]", "invalid type: sequence, expected a map at line 1 column 0"),
            (r#"{"a":null}"#, "its entry a is no object"),
            (r#"{"a":{}} x"#, "trailing characters at line 1 column 10"),
        ] {
            assert_eq!(Schedule::parse(text.as_bytes()).unwrap_err(), why, "{text}");
        }
        assert!(Schedule::parse(b"{}").unwrap().is_empty());
    }

    /// An entry goes with the link that it is about, and with no other; all others keep their bytes.
    #[test]
    fn entries_go_with_what_they_are_about_and_come_back() {
        let [image, layer, other] = ["image", "layer", "other"].map(digest);
        let key = |repository: &str, digest: &Digest| format!("{repository}@{digest}");
        let entries = [
            (key("a", &image), entry("a image", 1)),
            (key("a", &layer), entry("a layer", 0)),
            (key("a", &other), entry("a other", 0)),
            (key("b", &layer), r#"{"EntryType":0 , "more": [1.50]}"#.to_owned()),
            (key("c", &image), entry("a layer link of that digest goes, not the manifest", 1)),
            (key("c", &layer), entry("nobody knows what it is about", 7)),
        ];
        let mut sorted = entries.to_vec();
        sorted.sort();
        let text = |entries: &[(String, String)]| {
            let entries: Vec<String> = entries.iter().map(|(key, entry)| format!("\"{key}\":{entry}")).collect();
            format!("{{{}}}", entries.join(","))
        };
        let name = |name: &str| RepositoryName::parse(name).unwrap();
        let a = RepositoryPlan {
            revisions: vec![(image.clone(), Reason::Evicted)],
            layer_links: vec![layer.clone()],
            ..RepositoryPlan::of(name("a"))
        };
        let c = RepositoryPlan { layer_links: vec![image.clone(), layer.clone()], ..RepositoryPlan::of(name("c")) };
        let plan = Plan { repositories: vec![a, c], ..Plan::default() };

        let whole = text(&sorted);
        let mut schedule = Schedule::parse(whole.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(schedule.to_bytes()).unwrap(), whole, "nothing is changed by reading it");
        let taken = schedule.taken_by(&plan);
        let mut expected = entries[..2].to_vec();
        expected.sort();
        assert_eq!(taken, expected);
        schedule.remove(taken.iter().map(|(key, _)| key));
        sorted.retain(|entry| !expected.contains(entry));
        assert_eq!(String::from_utf8(schedule.to_bytes()).unwrap(), text(&sorted));

        // What the registry has noted anew meanwhile stays as it is, and what is no entry never gets in.
        let anew = (expected[0].0.clone(), entry("anew", 1));
        schedule.put_back([anew.clone()]);
        let odd = ("odd".to_owned(), "17".to_owned());
        assert_eq!(schedule.put_back(taken.into_iter().chain([odd])), 1);
        sorted.extend([anew, expected[1].clone()]);
        sorted.sort();
        assert_eq!(String::from_utf8(schedule.to_bytes()).unwrap(), text(&sorted));
    }
}
