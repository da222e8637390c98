//! The parts that a run spends its processor time in, each by itself: `cargo bench --bench core`.
//!
//! Whole runs, beside the registry's own collector, are measured by `benches/compare`. These are for whoever changes
//! one of the parts: criterion says whether it became faster or slower than at the run before.

#![allow(clippy::disallowed_methods, reason = "this program writes a tree; it is no part of regsweep")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails should say where")]
#![allow(missing_docs, reason = "the macros of criterion write functions without documentation")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use regsweep::collect::{self, Collection, Options};
use regsweep::digest::{Algorithm, Digest};
use regsweep::finding::Findings;
use regsweep::layout::blob_dir;
use regsweep::manifest;
use regsweep::plan::Scope;
use regsweep::policy::Policy;
use regsweep::progress::{Phase, Unwatched};
use regsweep::registry::Registry;
use serde_json::{Value, json};

criterion_group!(benches, digests, manifests, phases);
criterion_main!(benches);

// -------------------------------------------------------------------------------------------------- digests, manifests

fn digests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digest");
    for algorithm in Algorithm::ALL {
        let digest = Digest::of(algorithm, b"regsweep");
        let text = digest.to_string();
        group.bench_function(BenchmarkId::new("parse", algorithm.name()), |bencher| {
            bencher.iter(|| Digest::parse(black_box(text.as_bytes())).unwrap());
        });
        group.bench_function(BenchmarkId::new("print", algorithm.name()), |bencher| {
            bencher.iter(|| black_box(&digest).to_string());
        });
    }
    group.finish();
}

fn manifests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("manifest::parse");
    for (name, manifest) in [
        (
            "image of 9 layers",
            image(&descriptor(CONFIG, 0), &(1..=9).map(|n| descriptor(LAYER, n)).collect::<Vec<_>>()),
        ),
        ("index of 10 platforms", index(10)),
        // Nobody knows its fields: every string in it is looked at.
        (
            "unknown shape",
            json!({ "schemaVersion": 2, "parts": (0..10).map(|n| descriptor(LAYER, n)).collect::<Vec<_>>() }),
        ),
    ] {
        let bytes = serde_json::to_vec_pretty(&manifest).unwrap();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| manifest::parse(black_box(&bytes)).unwrap()));
    }
    group.finish();
}

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn descriptor(media_type: &str, number: u32) -> Value {
    describe(media_type, &number.to_le_bytes())
}

fn describe(media_type: &str, content: &[u8]) -> Value {
    let digest = Digest::of(Algorithm::Sha256, content).to_string();
    json!({ "mediaType": media_type, "size": content.len(), "digest": digest })
}

fn image(config: &Value, layers: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers })
}

fn index(platforms: u32) -> Value {
    let manifests = (0..platforms).map(|number| {
        let mut entry = descriptor(IMAGE, number);
        entry["platform"] = json!({ "os": "linux", "architecture": format!("architecture-{number}") });
        entry
    });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests.collect::<Vec<_>>() })
}

// ---------------------------------------------------------------------------------------------------- scan, mark, plan

/// Each phase of a dry run as the run itself clocks it, on a tree of which half is garbage. The tree is in the cache:
/// the scan and reading the manifests are system calls; what remains of mark, and the plan, is the work of this crate.
fn phases(criterion: &mut Criterion) {
    let root = tempfile::tempdir().unwrap();
    write_registry(root.path());
    let registry = Registry::open(root.path()).unwrap();
    let mut group = criterion.benchmark_group("collect");
    group.sample_size(20);
    for phase in [Phase::Scan, Phase::Mark, Phase::Plan] {
        group.bench_function(phase.name(), |bencher| {
            bencher.iter_custom(|iterations| {
                let seconds = (0..iterations).map(|_| {
                    let collection = dry_run(&registry);
                    collection.seconds.iter().filter(|(which, _)| *which == phase).map(|(_, took)| took).sum::<f64>()
                });
                Duration::from_secs_f64(seconds.sum())
            });
        });
    }
    group.finish();
}

fn dry_run(registry: &Registry) -> Collection {
    let options = Options {
        policy: &Policy { delete_untagged: true, ..Policy::default() },
        uploads_older_than: 0,
        remove_empty_repositories: false,
        young_since: None,
        max_delete: None,
        last_repositories: None,
        scope: Scope::Everything,
        now: 0,
    };
    let findings = Findings::default();
    let collection = collect::collect(registry, options, &findings, &Unwatched).unwrap();
    assert_eq!(findings.into_sorted(), [], "a tree without faults");
    let garbage = REPOSITORIES * IMAGES / 2 * (2 + LAYERS);
    assert_eq!(collection.plan.blobs.len(), usize::try_from(garbage).unwrap());
    collection
}

const REPOSITORIES: u32 = 20;
const IMAGES: u32 = 30;
const LAYERS: u32 = 5;

/// Images of which every second one has a tag. They share no blobs.
fn write_registry(root: &Path) {
    let v2 = root.join("docker/registry/v2");
    for repository in 0..REPOSITORIES {
        let name = format!("team-{}/app-{repository:02}", repository / 10);
        let folder = v2.join("repositories").join(name);
        for place in 0..IMAGES {
            let put = |media_type, content: String| {
                write(&v2.join(blob_dir(&Digest::of(Algorithm::Sha256, content.as_bytes()))).join("data"), &content);
                let descriptor = describe(media_type, content.as_bytes());
                if media_type != IMAGE {
                    link(&folder.join("_layers/sha256"), &descriptor);
                }
                descriptor
            };
            let config = put(CONFIG, format!("config {repository} {place}"));
            let layers: Vec<Value> =
                (0..LAYERS).map(|layer| put(LAYER, format!("layer {repository} {place} {layer}"))).collect();
            let manifest = put(IMAGE, serde_json::to_string_pretty(&image(&config, &layers)).unwrap());
            link(&folder.join("_manifests/revisions/sha256"), &manifest);
            if place % 2 == 0 {
                let tag = folder.join(format!("_manifests/tags/v{place}"));
                write(&tag.join("current/link"), manifest["digest"].as_str().unwrap());
                link(&tag.join("index/sha256"), &manifest);
            }
        }
    }
}

fn link(folder: &Path, descriptor: &Value) {
    let digest = descriptor["digest"].as_str().unwrap();
    write(&folder.join(digest.strip_prefix("sha256:").unwrap()).join("link"), digest);
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
