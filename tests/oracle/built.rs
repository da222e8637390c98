//! From the description of a registry to the registry on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use walkdir::WalkDir;

use super::world::{
    ALIASED_LAYER, Current, Damage, Entry, Format, LAYERS, List, Revision, SHA512_LAYER, Scope, Step, TAGS, World,
};
use crate::support::formats::sha256;
use crate::support::tree::{Blob, Manifest, Repository, Tree, write};

const HOUR: Duration = Duration::from_secs(3600);

/// A world on disk.
pub(crate) struct Built {
    pub(crate) tree: Tree,
    /// What the world calls the digests.
    names: BTreeMap<String, String>,
}

impl Built {
    /// Writes a world, its repositories in their order.
    pub(crate) fn new(world: &World) -> Self {
        Builder::new(world).build(world.repositories.iter())
    }

    /// The same world, its repositories written in reversed order; and then every file and folder again, the last name
    /// first, because file systems that list a folder by the time of entries (tmpfs is one) do so in each folder.
    pub(crate) fn reversed(world: &World) -> Self {
        let built = Builder::new(world).build(world.repositories.iter().rev());
        let rewritten = Tree::in_memory();
        let entries = WalkDir::new(built.tree.root()).sort_by_file_name().into_iter().map(Result::unwrap);
        for entry in entries.collect::<Vec<_>>().iter().rev() {
            let path = rewritten.root().join(entry.path().strip_prefix(built.tree.root()).unwrap());
            if entry.file_type().is_dir() {
                fs::create_dir_all(path).unwrap();
            } else {
                write(&path, &fs::read(entry.path()).unwrap());
            }
        }
        Self { tree: rewritten, ..built }
    }

    /// The text with the words of the world in place of digests.
    pub(crate) fn explain(&self, text: &str) -> String {
        let text = self.names.iter().fold(text.to_owned(), |text, (digest, name)| text.replace(digest, name));
        self.tree.explain(&text)
    }

    /// Objects by the words of the world, a line each.
    pub(crate) fn list<'a>(&self, objects: impl IntoIterator<Item = &'a String>) -> String {
        let lines: BTreeSet<String> =
            objects.into_iter().map(|object| format!("\n  {}", self.explain(object))).collect();
        lines.into_iter().collect()
    }
}

struct Builder<'w> {
    world: &'w World,
    tree: Tree,
    layers: Vec<Blob>,
    manifests: Vec<Manifest>,
}

/// A layer of the pool, by the name that manifests use.
fn layer(place: usize) -> Blob {
    let blob = Blob::layer(&format!("pool {place}"));
    if [SHA512_LAYER, ALIASED_LAYER].contains(&place) { Blob::sha512(blob.bytes) } else { blob }
}

fn with_blobs(mut manifest: Manifest, blobs: Vec<Blob>) -> Manifest {
    manifest.blobs = blobs;
    manifest
}

fn manifest(place: usize, entry: &Entry, layers: &[Blob], before: &[Manifest]) -> Manifest {
    let words = format!("m{place}");
    let of = |places: &[usize]| -> Vec<Blob> { places.iter().map(|&place| layers[place].clone()).collect() };
    match entry {
        Entry::Image(Format::Docker, places) => Manifest::docker_of(&words, &of(places)),
        Entry::Image(Format::NamedBySha512, places) => Manifest::docker_of(&words, &of(places)).named_by_sha512(),
        // The builder makes these from words, whose layers are sha256.
        Entry::Image(Format::Unknown, places) if places.iter().any(|&place| place >= SHA512_LAYER) => {
            let blobs = of(places);
            let named: Vec<&str> = blobs.iter().map(|blob| blob.digest.as_str()).collect();
            let value = json!({"mediaType": "application/vnd.future.thing.v9+json", "words": words, "some": named});
            with_blobs(Manifest::raw(value.to_string()), blobs)
        }
        Entry::Image(format, places) => {
            let named: Vec<String> = places.iter().map(|place| format!("pool {}", place % SHA512_LAYER)).collect();
            let named: Vec<&str> = named.iter().map(String::as_str).collect();
            match format {
                Format::Oci => Manifest::oci(&words, &named),
                Format::Untyped => Manifest::untyped(&words, &named),
                Format::Artifact => Manifest::artifact(&words, &named),
                Format::Unknown => Manifest::unknown(&words, &named),
                _ => Manifest::schema1(&words, &named),
            }
        }
        Entry::Index(list, children) => {
            let children: Vec<&Manifest> = children.iter().map(|&child| &before[child]).collect();
            match list {
                List::Oci => Manifest::index(&words, &children),
                List::Docker => Manifest::list(&words, &children),
                List::Untyped => Manifest::untyped_index(&words, &children),
            }
        }
        Entry::Cache(places) => {
            let blobs = of(places);
            let entries: Vec<(&str, u64)> =
                blobs.iter().map(|blob| (blob.digest.as_str(), blob.bytes.len() as u64)).collect();
            with_blobs(Manifest::buildkit_cache(&entries), blobs.clone())
        }
        Entry::Referrer(subject) => Manifest::referrer(&words, &before[*subject]),
    }
}

impl<'w> Builder<'w> {
    fn new(world: &'w World) -> Self {
        let layers: Vec<Blob> = (0..LAYERS).map(layer).collect();
        let mut manifests = Vec::new();
        for (place, entry) in world.manifests.iter().enumerate() {
            manifests.push(manifest(place, entry, &layers, &manifests));
        }
        Self { world, tree: Tree::in_memory(), layers, manifests }
    }

    fn build<'a>(self, repositories: impl Iterator<Item = &'a (&'static str, Vec<Step>)>) -> Built {
        for (name, steps) in repositories {
            let repository = self.tree.repository(name);
            for (place, step) in steps.iter().enumerate() {
                self.step(&repository, place, step);
            }
        }
        for place in &self.world.orphans {
            self.tree.orphan(&format!("orphan {place}"));
        }
        self.world.damage.iter().for_each(|damage| self.damage(damage));
        let mut names = BTreeMap::new();
        for (place, manifest) in self.manifests.iter().enumerate() {
            for blob in &manifest.blobs {
                names.insert(blob.digest.clone(), format!("<config of m{place}>"));
            }
            names.insert(manifest.digest.clone(), format!("<m{place}>"));
        }
        for (place, layer) in self.layers.iter().enumerate() {
            names.insert(sha256(&layer.bytes), format!("<layer {place}>"));
            if layer.digest.starts_with("sha512") {
                names.insert(layer.digest.clone(), format!("<layer {place} by sha512>"));
            }
        }
        Built { tree: self.tree, names }
    }

    fn step(&self, repository: &Repository<'_>, place: usize, step: &Step) {
        match step {
            Step::Push { manifest, tag, without } => {
                self.push(repository, *manifest, without);
                if let Some(tag) = tag {
                    repository.tag(TAGS[*tag], &self.manifests[*manifest]);
                }
            }
            Step::DeleteByApi(place) => {
                let manifest = &self.manifests[*place];
                let link = repository.revision(&manifest.digest).join("link");
                if link.exists() && self.may_be_deleted(*place) {
                    repository.delete_by_api(manifest);
                }
            }
            Step::DeleteByHand(tag) => {
                let Ok(target) = fs::read_to_string(repository.current(TAGS[*tag])) else { return };
                let place = self.manifests.iter().position(|manifest| manifest.digest == target).unwrap();
                let is_whole =
                    repository.revision(&target).exists() && repository.history(TAGS[*tag], &target).exists();
                let points_there =
                    |tag: &&str| fs::read_to_string(repository.current(tag)).is_ok_and(|it| it == target);
                // Another tag would dangle, which the stock collector does not care for.
                let dangles =
                    self.world.scope != Scope::Everything && TAGS.iter().filter(|tag| points_there(tag)).count() > 1;
                if is_whole && !dangles && self.may_be_deleted(place) {
                    repository.delete_by_hand(TAGS[*tag], &self.manifests[place]);
                }
            }
            Step::Sign { subject, signature } => {
                self.push(repository, *signature, &[]);
                let subject = &self.manifests[*subject].digest;
                // By sha512 the name would be longer than a tag may be.
                if let Some(hex) = subject.strip_prefix("sha256:") {
                    repository.tag(&format!("sha256-{hex}.sig"), &self.manifests[*signature]);
                }
            }
            Step::StrayLayer(layer) => _ = repository.stray_layer(&format!("pool {layer}")),
            Step::Upload { stale } => {
                let age = if *stale { 2000 * HOUR } else { HOUR };
                repository.upload(&format!("upload-{place}"), age);
            }
        }
    }

    /// The stock collector lets go of the layers of an index's child that has no revision link.
    fn may_be_deleted(&self, place: usize) -> bool {
        let lists = |entry: &Entry| matches!(entry, Entry::Index(_, children) if children.contains(&place));
        self.world.scope == Scope::Everything || !self.world.manifests.iter().any(lists)
    }

    fn push(&self, repository: &Repository<'_>, place: usize, without: &[usize]) {
        if let Entry::Index(_, children) = &self.world.manifests[place] {
            for &child in children.iter().filter(|child| !without.contains(child)) {
                self.push(repository, child, without);
            }
        }
        let mut manifest = self.manifests[place].clone();
        let aliased = &self.layers[ALIASED_LAYER];
        let blobs = manifest.blobs.len();
        manifest.blobs.retain(|blob| blob.digest != aliased.digest);
        repository.push(&manifest);
        if manifest.blobs.len() < blobs {
            let canonical = sha256(&aliased.bytes);
            write(&self.tree.data(&canonical), &aliased.bytes);
            repository.link_layer(&canonical);
            write(&repository.layer(&aliased.digest).join("link"), canonical.as_bytes());
        }
    }

    fn damage(&self, damage: &Damage) {
        let repository = |place: usize| self.tree.repository(self.world.repositories[place].0);
        let data = |place: usize| self.tree.data(&self.manifests[place].digest);
        let remove = |path: PathBuf| {
            if path.exists() {
                self.tree.remove(&path);
            }
        };
        match *damage {
            Damage::MissingLayers { manifest, count } => {
                let blobs = &self.manifests[manifest].blobs;
                blobs.iter().rev().take(count).for_each(|blob| remove(self.tree.blob(&blob.digest)));
            }
            Damage::LostLayers(ref places) => {
                places.iter().for_each(|&place| remove(self.tree.blob(&sha256(&self.layers[place].bytes))));
            }
            Damage::MissingManifest(place) => remove(self.tree.blob(&self.manifests[place].digest)),
            Damage::FlippedManifest(place) => {
                if data(place).exists() {
                    self.tree.flip(&data(place));
                }
            }
            Damage::Cycle { manifest, subject } => {
                if data(manifest).exists() {
                    let words = format!("m{manifest}");
                    self.tree.replace(&data(manifest), &Manifest::referrer(&words, &self.manifests[subject]).bytes);
                }
            }
            Damage::Revision { repository: at, manifest, how } => {
                let folder = repository(at).revision(&self.manifests[manifest].digest);
                let link = folder.join("link");
                match how {
                    Revision::Removed => remove(folder),
                    Revision::RemovedWithBlob => {
                        remove(folder);
                        remove(self.tree.blob(&self.manifests[manifest].digest));
                    }
                    Revision::Emptied if link.exists() => self.tree.truncate(&link, 0),
                    Revision::Names(other) if link.exists() => {
                        self.tree.replace(&link, self.manifests[other].digest.as_bytes());
                    }
                    _ => {}
                }
            }
            Damage::Current { repository: at, tag, how } => {
                let (current, index) =
                    (repository(at).current(TAGS[tag]), repository(at).tag_folder(TAGS[tag]).join("index"));
                if !current.exists() {
                    return;
                }
                match how {
                    Current::Removed => self.tree.remove(&current),
                    Current::Emptied => self.tree.truncate(&current, 0),
                    Current::Garbled => self.tree.replace(&current, b"sha256:0123"),
                    Current::EmptiedWithHistory => {
                        self.tree.truncate(&current, 0);
                        remove(index);
                    }
                }
            }
        }
    }
}
