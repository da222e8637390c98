//! Writes the storage of a made-up registry, for benchmarks and large tests, as distribution 2.8 lays it out.
//!
//! ```sh
//! cargo run --release --example generate_registry -- OUT --repositories 500 --tags 20 --untagged 36 --seed 1
//! ```
//!
//! The same arguments give the same tree, byte for byte (times apart), however many threads write it. On stdout it
//! prints, as JSON, what is in the tree and what a right collector must find in it. Those counts come from a model of
//! its own (`Expected::of`), written plainly and sharing no code with what is measured against it.
//!
//! One repository is: `--tags` images that have a tag; `--untagged` images that had one, `main`, until the next push
//! moved it; `--deleted` images that were deleted through the API, of which the empty revision folder, the layer links,
//! the blobs and the entry in `main`'s history are left; `--orphans` layers that no manifest names, every second of
//! them without a link too. Of the images, `--indexes` percent are indexes of two platforms, and `--promoted` percent
//! are images of the repository before it, so the two share all blobs. An image has layers of its own, layers of its
//! repository and layers of a base image that many repositories use.
//!
//! `--hollow` leaves out what a dry run never opens, so that millions of blobs take seconds and little room: layer
//! links are folders without a `link` file, and the layers and configs of images that have a revision are folders
//! without `data`. What is garbage by default has its `data`, since a dry run says how large it is; and manifests,
//! revision links and tags are whole. Such a tree is for dry runs of regsweep without `--delete-untagged` alone:
//! another collector may look at more, and no registry could serve it.

#![allow(clippy::disallowed_methods, reason = "this program writes a tree; it is no part of regsweep")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rayon::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

// ----------------------------------------------------------------------------------------------------- the command line

/// Writes the storage of a made-up registry, and prints what a right collector must find in it
#[derive(Parser, Debug)]
struct Arguments {
    /// The storage root to write; must not exist yet, or be empty
    out: PathBuf,
    /// How many repositories
    #[arg(long, default_value_t = 20)]
    repositories: u64,
    /// Images with a tag, a repository
    #[arg(long, default_value_t = 20)]
    tags: u64,
    /// Images that have lost their tag, a repository
    #[arg(long, default_value_t = 36)]
    untagged: u64,
    /// Images that were deleted through the API, a repository
    #[arg(long, default_value_t = 1)]
    deleted: u64,
    /// Layers that no manifest names, a repository; every second one has no link either
    #[arg(long, default_value_t = 4)]
    orphans: u64,
    /// Percent of the images that are indexes of two platforms
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100))]
    indexes: u64,
    /// Percent of the images that come from the repository before it
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(0..=100))]
    promoted: u64,
    /// Layers that an image has for itself
    #[arg(long, default_value_t = 4)]
    layers: u64,
    /// Layers that an image shares with others of its repository
    #[arg(long, default_value_t = 1)]
    repository_layers: u64,
    /// Layers that an image shares with other repositories: those of its base image
    #[arg(long, default_value_t = 3)]
    base_layers: u64,
    /// Leave out the contents of layers and layer links that a dry run does not open
    #[arg(long)]
    hollow: bool,
    /// Where all randomness begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let v2 = arguments.out.join("docker/registry/v2");
    fs::create_dir_all(&v2).with_context(|| format!("cannot make {}", v2.display()))?;
    let is_empty = fs::read_dir(&v2)?.next().is_none();
    ensure!(is_empty, "{} is not empty", v2.display());

    let blobs = Blobs::new(v2.join("blobs/sha256"))?;
    let repositories: Vec<Repository> = (0..arguments.repositories)
        .into_par_iter()
        .map(|number| {
            let repository = Repository::think_up(&arguments, number, &blobs)?;
            repository.write(&v2.join("repositories"), arguments.hollow)?;
            Ok(repository)
        })
        .collect::<Result<_>>()?;

    let sizes = blobs.sizes();
    let summary = json!({
        "schema": "regsweep.generated/1",
        "arguments": {
            "repositories": arguments.repositories, "tags": arguments.tags, "untagged": arguments.untagged,
            "deleted": arguments.deleted, "orphans": arguments.orphans, "indexes": arguments.indexes,
            "promoted": arguments.promoted, "layers": arguments.layers,
            "repository_layers": arguments.repository_layers, "base_layers": arguments.base_layers,
            "hollow": arguments.hollow, "seed": arguments.seed,
        },
        "tree": {
            "repositories": repositories.len(),
            "tags": repositories.iter().map(|repository| repository.tags.len()).sum::<usize>(),
            "revisions": repositories.iter().map(|repository| repository.revisions.len()).sum::<usize>(),
            "layer_links": repositories.iter().map(|repository| repository.layer_links.len()).sum::<usize>(),
            "blobs": sizes.len(),
            "bytes": sizes.values().sum::<u64>(),
        },
        "default": Expected::of(&repositories, &sizes, false).as_json(),
        "delete_untagged": Expected::of(&repositories, &sizes, true).as_json(),
    });
    println!("{summary:#}");
    Ok(())
}

// ---------------------------------------------------------------------------------------------------------- randomness

/// splitmix64: small, fast, and the same everywhere.
struct Random(u64);

impl Random {
    /// A stream of its own for everything that has a name of its own, so that no order of threads matters.
    fn of(seed: u64, name: &[u64]) -> Random {
        let mut random = Random(seed);
        for word in name {
            random.0 = random.next() ^ word.wrapping_mul(0xD134_2543_DE82_EF95);
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// True in so many of a hundred cases.
    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        let words = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(usize::try_from(length).unwrap_or(usize::MAX)).collect()
    }
}

/// The first word of a stream's name.
mod stream {
    pub(crate) const BASE_LAYER: u64 = 1;
    pub(crate) const REPOSITORY_LAYER: u64 = 2;
    pub(crate) const OWN_LAYER: u64 = 3;
    pub(crate) const IMAGE: u64 = 4;
    pub(crate) const KIND: u64 = 5;
    pub(crate) const PROMOTION: u64 = 6;
    pub(crate) const ORPHAN: u64 = 7;
    pub(crate) const REPOSITORY: u64 = 8;
}

// --------------------------------------------------------------------------------------------------------------- blobs

type Digest = [u8; 32];

/// The blob store. Each blob is written once, by whoever comes first.
struct Blobs {
    folder: PathBuf,
    /// Sizes by digest, in one map for each folder of two hex digits.
    written: Vec<Mutex<HashMap<Digest, u64>>>,
}

/// What a manifest says about a blob.
#[derive(Clone, Debug)]
struct Descriptor {
    digest: Digest,
    size: u64,
}

impl Descriptor {
    fn as_json(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "size": self.size, "digest": text_of(&self.digest) })
    }
}

fn text_of(digest: &Digest) -> String {
    format!("sha256:{}", const_hex::encode(digest))
}

impl Blobs {
    fn new(folder: PathBuf) -> Result<Blobs> {
        fs::create_dir_all(&folder)?;
        Ok(Blobs { folder, written: (0..256).map(|_| Mutex::default()).collect() })
    }

    /// Writes a blob, unless it is there already; a hollow one without its `data`.
    fn put(&self, bytes: &[u8], hollow: bool) -> Result<Descriptor> {
        let digest: Digest = Sha256::digest(bytes).into();
        let size = bytes.len() as u64;
        let shard = &self.written[usize::from(digest[0])];
        if shard.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, size).is_none() {
            let hex = const_hex::encode(digest);
            let shard = self.folder.join(&hex[..2]);
            make_folder(&shard)?;
            let folder = shard.join(&hex);
            fs::create_dir(&folder)?;
            if !hollow {
                write_new(&folder.join("data"), bytes)?;
            }
        }
        Ok(Descriptor { digest, size })
    }

    fn sizes(self) -> HashMap<Digest, u64> {
        self.written.into_iter().flat_map(|shard| shard.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }
}

/// Makes a folder that another thread may be making as well.
fn make_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = fs::File::create_new(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(file.write_all(bytes)?)
}

// -------------------------------------------------------------------------------------------------------------- images

/// A manifest with all that it needs.
#[derive(Clone, Debug)]
struct Manifest {
    digest: Digest,
    /// Config and layers.
    needs: Vec<Digest>,
    /// The platforms of an index.
    children: Vec<Manifest>,
}

/// Whether manifests are in Docker's own format or in OCI's.
#[derive(Clone, Copy)]
struct Dialect {
    manifest: &'static str,
    config: &'static str,
    layer: &'static str,
    index: &'static str,
}

const DOCKER: Dialect = Dialect {
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
};

const OCI: Dialect = Dialect {
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: "application/vnd.oci.image.layer.v1.tar+gzip",
    index: "application/vnd.oci.image.index.v1+json",
};

/// Layers of which the images of a repository take some.
const REPOSITORY_LAYERS: u64 = 6;
/// How many repositories there are to a base image.
const REPOSITORIES_PER_BASE: u64 = 10;

/// Thinks up images: each is a pure function of the arguments and its place.
struct Builder<'a> {
    arguments: &'a Arguments,
    blobs: &'a Blobs,
    /// Whether configs and layers are written without their `data`. They must then be live where they are put.
    hollow: bool,
}

impl Builder<'_> {
    fn random(&self, name: &[u64]) -> Random {
        Random::of(self.arguments.seed, name)
    }

    fn layer(&self, name: &[u64]) -> Result<Descriptor> {
        let mut random = self.random(name);
        // Small, so that a large registry fits on a small disk. A collector does not look into layers.
        let length = 200 + random.below(1_800);
        self.blobs.put(&random.bytes(length), self.hollow)
    }

    /// The image in this place of the repository: an index of two platforms, or an image for one.
    fn image(&self, repository: u64, place: u64) -> Result<Manifest> {
        let mut random = self.random(&[stream::KIND, repository, place]);
        let is_index = random.percent(self.arguments.indexes);
        let dialect = if random.percent(50) { DOCKER } else { OCI };
        if !is_index {
            return self.platform(repository, place, "amd64", dialect).map(|(manifest, _)| manifest);
        }
        let (mut children, mut entries) = (Vec::new(), Vec::new());
        for architecture in ["amd64", "arm64"] {
            let (child, descriptor) = self.platform(repository, place, architecture, dialect)?;
            let mut entry = descriptor.as_json(dialect.manifest);
            entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
            entries.push(entry);
            children.push(child);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": dialect.index, "manifests": entries });
        let digest = self.blobs.put(&pretty(&index)?, false)?.digest;
        Ok(Manifest { digest, needs: Vec::new(), children })
    }

    fn platform(
        &self,
        repository: u64,
        place: u64,
        architecture: &str,
        dialect: Dialect,
    ) -> Result<(Manifest, Descriptor)> {
        let platform = architecture.len() as u64 + u64::from(architecture == "arm64");
        let mut random = self.random(&[stream::IMAGE, repository, place, platform]);
        let arguments = self.arguments;
        let base = self.base_of(repository, &mut random);
        let mut layers = Vec::new();
        for layer in 0..arguments.base_layers {
            layers.push(self.layer(&[stream::BASE_LAYER, base, platform, layer])?);
        }
        let first = random.below(REPOSITORY_LAYERS);
        for layer in 0..arguments.repository_layers {
            let layer = (first + layer) % REPOSITORY_LAYERS.max(arguments.repository_layers);
            layers.push(self.layer(&[stream::REPOSITORY_LAYER, repository, platform, layer])?);
        }
        for layer in 0..arguments.layers {
            layers.push(self.layer(&[stream::OWN_LAYER, repository, place, platform, layer])?);
        }
        // The id stands for what makes the configs of real images differ: build time, labels, file system.
        let config = json!({
            "architecture": architecture, "os": "linux",
            "config": { "Entrypoint": ["/app"], "Labels": { "id": format!("{:016x}", random.next()) } },
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.iter().map(|layer| text_of(&layer.digest)).collect::<Vec<_>>(),
            },
        });
        let config = self.blobs.put(config.to_string().as_bytes(), self.hollow)?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": dialect.manifest,
            "config": config.as_json(dialect.config),
            "layers": layers.iter().map(|layer| layer.as_json(dialect.layer)).collect::<Vec<_>>(),
        });
        let descriptor = self.blobs.put(&pretty(&manifest)?, false)?;
        let needs = [&config].into_iter().chain(&layers).map(|blob| blob.digest).collect();
        Ok((Manifest { digest: descriptor.digest, needs, children: Vec::new() }, descriptor))
    }

    /// A repository uses one base image, and now and then the next one.
    fn base_of(&self, repository: u64, random: &mut Random) -> u64 {
        let bases = self.arguments.repositories.div_ceil(REPOSITORIES_PER_BASE);
        let first = self.random(&[stream::REPOSITORY, repository]).below(bases);
        (first + u64::from(random.percent(20))) % bases
    }
}

/// As Docker and most builders write manifests: indented. Their digest is that of these bytes.
fn pretty(value: &Value) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec_pretty(value)?)
}

// -------------------------------------------------------------------------------------------------------- repositories

/// A tag: what it points at, and everything that it ever pointed at.
#[derive(Debug)]
struct Tag {
    name: String,
    current: Digest,
    history: Vec<Digest>,
}

/// What is in a repository.
#[derive(Debug)]
struct Repository {
    name: String,
    tags: Vec<Tag>,
    /// Manifests that have a revision link.
    revisions: BTreeMap<Digest, Manifest>,
    /// Revisions that were deleted through the API: an empty folder is left of each.
    deleted: Vec<Digest>,
    layer_links: HashSet<Digest>,
}

impl Repository {
    fn think_up(arguments: &Arguments, number: u64, blobs: &Blobs) -> Result<Repository> {
        let mut repository = Repository {
            name: name_of(number),
            tags: Vec::new(),
            revisions: BTreeMap::new(),
            deleted: Vec::new(),
            layer_links: HashSet::new(),
        };
        let with_revision = arguments.tags + arguments.untagged;
        let images = with_revision + arguments.deleted;
        let builder = |hollow| Builder { arguments, blobs, hollow: hollow && arguments.hollow };
        let mut pushed_to_main = Vec::new();
        for place in 0..images {
            let builder = builder(place < with_revision);
            let promoted =
                number > 0 && builder.random(&[stream::PROMOTION, number, place]).percent(arguments.promoted);
            // From the other end: what has a tag here has mostly lost it there.
            let image =
                if promoted { builder.image(number - 1, images - 1 - place) } else { builder.image(number, place) }?;
            for manifest in [&image].into_iter().chain(&image.children) {
                repository.layer_links.extend(&manifest.needs);
            }
            repository.revisions.extend(image.children.iter().map(|child| (child.digest, child.clone())));
            if place + 1 < arguments.tags {
                let name = format!("v1.{}.{}", place / 10, place % 10);
                repository.tags.push(Tag { name, current: image.digest, history: vec![image.digest] });
            } else {
                // The last image with a tag has `main`; all that come after it had it before.
                pushed_to_main.push(image.digest);
            }
            if place < with_revision {
                repository.revisions.insert(image.digest, image);
            } else {
                repository.deleted.push(image.digest);
            }
        }
        if arguments.tags > 0 {
            repository.tags.push(Tag { name: "main".to_owned(), current: pushed_to_main[0], history: pushed_to_main });
        }
        for orphan in 0..arguments.orphans {
            let layer = builder(false).layer(&[stream::ORPHAN, number, orphan])?;
            if orphan % 2 == 0 {
                repository.layer_links.insert(layer.digest);
            }
        }
        Ok(repository)
    }

    fn write(&self, repositories: &Path, hollow: bool) -> Result<()> {
        let folder = repositories.join(&self.name);
        // The registry makes it for the first push, and leaves it.
        fs::create_dir_all(folder.join("_uploads"))?;
        write_links(&folder.join("_layers/sha256"), &self.layer_links, hollow)?;
        let revisions = folder.join("_manifests/revisions/sha256");
        write_links(&revisions, self.revisions.keys(), false)?;
        for digest in &self.deleted {
            fs::create_dir(revisions.join(const_hex::encode(digest)))?;
        }
        for tag in &self.tags {
            let folder = folder.join("_manifests/tags").join(&tag.name);
            fs::create_dir_all(folder.join("current"))?;
            write_new(&folder.join("current/link"), text_of(&tag.current).as_bytes())?;
            write_links(&folder.join("index/sha256"), &tag.history, false)?;
        }
        Ok(())
    }
}

fn write_links<'a>(folder: &Path, digests: impl IntoIterator<Item = &'a Digest>, hollow: bool) -> Result<()> {
    fs::create_dir_all(folder)?;
    // Sorted, so that the folders are the same on every run: sets have an order of their own each time.
    let mut digests: Vec<&Digest> = digests.into_iter().collect();
    digests.sort_unstable();
    for digest in digests {
        let folder = folder.join(const_hex::encode(digest));
        fs::create_dir(&folder)?;
        if !hollow {
            write_new(&folder.join("link"), text_of(digest).as_bytes())?;
        }
    }
    Ok(())
}

/// Two components; every tenth repository lies below the one before it.
fn name_of(number: u64) -> String {
    let name = |number: u64| format!("team-{:02}/app-{number:04}", number / 20);
    if number % 10 == 9 { format!("{}/tools", name(number - 1)) } else { name(number) }
}

// ------------------------------------------------------------------------------------------------ what is to be found

/// What a right collector finds.
#[derive(Debug, Default)]
struct Expected {
    blobs: u64,
    bytes: u64,
    layer_links: u64,
    revisions: u64,
    empty_revision_folders: u64,
    tag_history: u64,
}

impl Expected {
    /// The rules in short. Roots: every revision, or with `delete_untagged` every tag's target. What a root lists is
    /// live with it, and so is what that needs. A layer link lives while a live manifest of its repository needs it, a
    /// blob while anything in any repository does, a tag's history entry while its revision does.
    fn of(repositories: &[Repository], sizes: &HashMap<Digest, u64>, delete_untagged: bool) -> Expected {
        let mut expected = Expected::default();
        let mut live_blobs: HashSet<Digest> = HashSet::new();
        for repository in repositories {
            let roots: Vec<&Manifest> = if delete_untagged {
                repository.tags.iter().filter_map(|tag| repository.revisions.get(&tag.current)).collect()
            } else {
                repository.revisions.values().collect()
            };
            let live: Vec<&Manifest> =
                roots.iter().flat_map(|root| [*root].into_iter().chain(&root.children)).collect();
            let live_revisions: HashSet<Digest> = live.iter().map(|manifest| manifest.digest).collect();
            let needed: HashSet<Digest> = live.iter().flat_map(|manifest| manifest.needs.iter().copied()).collect();

            let is_dead = |digest: &&Digest| !live_revisions.contains(*digest);
            expected.revisions += repository.revisions.keys().filter(is_dead).count() as u64;
            expected.empty_revision_folders += repository.deleted.len() as u64;
            expected.layer_links += repository.layer_links.difference(&needed).count() as u64;
            let history = repository.tags.iter().flat_map(|tag| &tag.history);
            expected.tag_history += history.filter(is_dead).count() as u64;
            live_blobs.extend(live_revisions);
            live_blobs.extend(needed);
        }
        for (_, size) in sizes.iter().filter(|(digest, _)| !live_blobs.contains(*digest)) {
            expected.blobs += 1;
            expected.bytes += size;
        }
        expected
    }

    fn as_json(&self) -> Value {
        json!({
            "blobs": { "count": self.blobs, "bytes": self.bytes },
            "layer_links": self.layer_links,
            "revisions": self.revisions,
            "empty_revision_folders": self.empty_revision_folders,
            "tag_history": self.tag_history,
        })
    }
}
