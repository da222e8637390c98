//! What things are, in the field's words: read from the manifests again, and only from those that are shown.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use serde::Serialize;

use super::Knowledge;
use super::chains::Chain;
use super::graph::{Ancestry, Edge};
use crate::digest::Digest;
use crate::inventory::DigestId;
use crate::layout::{DATA, blob_dir};
use crate::manifest::{Details, Form, Loaded, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, config, details};

/// So many manifests are asked what a blob is.
const ASKED: usize = 16;
/// So many manifests are remembered: neighbours in a list often have some in common.
const REMEMBERED: usize = 1024;

/// Reads manifests for people.
#[derive(Debug)]
pub struct Describer<'k> {
    knowledge: &'k Knowledge<'k>,
    read: RefCell<HashMap<DigestId, Option<Rc<Details>>>>,
}

/// What something is, alone or as a part of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct What {
    /// `index`, `image`, `artifact`, `schema1`, `manifest`, `attestation`, `config`, `layer`, `entry` (of an index that
    /// lists blobs: a build cache), `signature`, `blob`.
    pub kind: &'static str,
    /// For which platform it is, where that is known.
    pub platform: Option<Box<str>>,
    /// What sort of artifact it is.
    pub artifact_type: Option<Box<str>>,
    /// The places that it has among the layers, counted from 1 and from the lowest; more than one where it is named
    /// more than once.
    pub places: Vec<usize>,
    /// Among how many.
    pub of: Option<usize>,
}

impl What {
    fn plain(kind: &'static str) -> What {
        What { kind, ..What::default() }
    }

    /// The same without its place: which layer it is of one image says nothing of the others.
    pub(super) fn in_general(self) -> What {
        What { places: Vec::new(), of: None, ..self }
    }

    fn says_much(&self) -> bool {
        !matches!(self.kind, "blob" | "entry")
    }

    /// In a few words: `layer 4 of 7`, `linux/arm64 manifest`.
    pub fn text(&self) -> String {
        let text = match (self.kind, &self.platform) {
            ("image", Some(platform)) => format!("{platform} manifest"),
            ("image", None) => "manifest".to_owned(),
            ("schema1", _) => "schema 1 manifest".to_owned(),
            ("artifact", _) => match &self.artifact_type {
                Some(of) => format!("artifact manifest ({})", of.strip_prefix("application/").unwrap_or(of)),
                None => "artifact manifest".to_owned(),
            },
            (kind @ ("config" | "index"), Some(platform)) => format!("{platform} {kind}"),
            (kind, _) => kind.to_owned(),
        };
        match (self.places.as_slice(), self.of) {
            ([], _) | (_, None) => text,
            ([one], Some(of)) => format!("{text} {one} of {of}"),
            (several, Some(of)) => {
                let places: Vec<String> = several.iter().map(ToString::to_string).collect();
                format!("{text} {} of {of}", places.join(" and "))
            }
        }
    }
}

/// One step of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// How the one before leads here: `root`, `reference`, `subject`, `revision-link`, `layer-link`, `signature`.
    pub via: &'static str,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
    /// Which.
    pub digest: Digest,
}

impl<'k> Describer<'k> {
    /// Nothing is read yet.
    pub fn new(knowledge: &'k Knowledge<'k>) -> Describer<'k> {
        Describer { knowledge, read: RefCell::default() }
    }

    /// The steps of a chain. What cannot be read any more is described by what others say of it.
    pub fn steps(&self, chain: Chain<'_>) -> Vec<Step> {
        let mut before: Option<DigestId> = None;
        let step = |&(id, edge): &(DigestId, Edge)| {
            let what = match (edge, before.replace(id)) {
                (Edge::Reference, Some(parent)) => self.part(parent, id),
                (Edge::LayerLink, _) => What::plain("blob"),
                (Edge::Signature, _) => What::plain("signature"),
                _ => self.alone(id),
            };
            let via = match edge {
                Edge::Root => "root",
                Edge::Reference => "reference",
                Edge::Subject => "subject",
                Edge::RevisionLink => "revision-link",
                Edge::LayerLink => "layer-link",
                Edge::Signature => "signature",
            };
            Step { via, what, digest: self.knowledge.digest(id) }
        };
        chain.steps.iter().map(step).collect()
    }

    /// What a digest is: a manifest by itself, a blob by the first manifest that names it.
    pub(super) fn what(&self, ancestry: &Ancestry) -> What {
        let own = self.alone(ancestry.target);
        if own.kind != "blob" {
            return own;
        }
        let mut parents: Vec<(Digest, DigestId)> =
            ancestry.parents().map(|id| (self.knowledge.digest(id), id)).collect();
        parents.sort();
        // A build cache lists blobs without saying what they are, and an image says it.
        let parts = parents.into_iter().take(ASKED).map(|(_, parent)| self.part(parent, ancestry.target));
        parts.max_by_key(|what| what.says_much()).unwrap_or(own).in_general()
    }

    /// What a manifest is; `blob` if it is none.
    fn alone(&self, id: DigestId) -> What {
        let Some(details) = self.details(id) else {
            return match self.knowledge.store.get(id) {
                Some(Loaded::Manifest(_) | Loaded::Missing | Loaded::Damaged(_) | Loaded::Unreadable(_)) => {
                    What::plain("manifest")
                }
                Some(Loaded::Blob) | None => What::plain("blob"),
            };
        };
        let platform = details.config.as_ref().and_then(|config| self.platform(config));
        What { platform, artifact_type: details.artifact_type.clone(), ..What::plain(kind_of(details.form)) }
    }

    /// What a digest is to a manifest that names it.
    pub(super) fn part(&self, parent: DigestId, id: DigestId) -> What {
        match self.details(parent) {
            Some(of) => self.part_of(&of, id),
            None => self.alone(id),
        }
    }

    /// The same for a manifest that was read.
    pub(super) fn part_of(&self, of: &Details, id: DigestId) -> What {
        let digest = self.knowledge.digest(id);
        let layers = of.layers.iter().enumerate().filter(|(_, layer)| **layer == digest);
        let places: Vec<usize> = layers.map(|(place, _)| place + 1).collect();
        if of.any_config.as_ref() == Some(&digest) && places.is_empty() {
            return What::plain("config");
        }
        if !places.is_empty() {
            return What { places, of: Some(of.layers.len()), ..What::plain("layer") };
        }
        let child = of.children.iter().find(|child| child.digest == digest);
        if child.is_some_and(|child| child.is_attestation) {
            return What::plain("attestation");
        }
        let own = self.alone(id);
        if own.kind == "blob" && of.form == Form::Index {
            return What::plain("entry");
        }
        What { platform: child.and_then(|child| child.platform.clone()).or(own.platform), ..own }
    }

    fn details(&self, id: DigestId) -> Option<Rc<Details>> {
        if let Some(known) = self.read.borrow().get(&id) {
            return known.clone();
        }
        // Whatever nobody takes for a manifest is not read: it may be a layer of gigabytes.
        let is_manifest = self.knowledge.store.manifest(id).is_some();
        let read = is_manifest.then(|| self.knowledge.read_manifest(&self.knowledge.digest(id))).flatten().map(Rc::new);
        let mut all = self.read.borrow_mut();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(id, read.clone());
        read
    }

    fn platform(&self, digest: &Digest) -> Option<Box<str>> {
        self.knowledge.read_blob(digest, MAX_CONFIG_BYTES).and_then(|bytes| config(&bytes)).and_then(|it| it.platform)
    }

    /// What a blob is that no manifest names and that was read by nobody: a manifest, a config, or anything.
    pub(super) fn unknown(&self, digest: &Digest) -> What {
        if let Some(details) = self.knowledge.read_manifest(digest).filter(|details| details.form != Form::Unknown) {
            let platform = details.config.as_ref().and_then(|config| self.platform(config));
            return What { platform, artifact_type: details.artifact_type, ..What::plain(kind_of(details.form)) };
        }
        match self.platform(digest) {
            Some(platform) => What { platform: Some(platform), ..What::plain("config") },
            None => What::plain("blob"),
        }
    }
}

fn kind_of(form: Form) -> &'static str {
    match form {
        Form::Image => "image",
        Form::Index => "index",
        Form::Artifact => "artifact",
        Form::Schema1 => "schema1",
        Form::Unknown => "manifest",
    }
}

impl Knowledge<'_> {
    /// The manifest of this digest, if it is whole.
    pub(super) fn read_manifest(&self, digest: &Digest) -> Option<Details> {
        details(&self.read_blob(digest, MAX_MANIFEST_BYTES)?).ok()
    }

    /// The bytes of a blob, if they match its digest and are not too many. This is to describe it, not to decide: what
    /// cannot be read was told while it was marked.
    fn read_blob(&self, digest: &Digest, limit: u64) -> Option<Vec<u8>> {
        let content = self.registry.v2().read(blob_dir(digest).join(DATA), limit).ok().flatten()?;
        // Manifests and configs are objects; nothing else has to be hashed.
        let is_object = content.bytes.trim_ascii_start().starts_with(b"{");
        is_object.then_some(())?;
        digest.matches(&content.bytes).then_some(content.bytes)
    }
}
