//! Makes `fixtures/sample-registry`: the storage of a real registry after a few weeks of work, in small.
//!
//! Starts `docker-registry` on a temporary folder, pushes to it with skopeo and over its API, deletes, retags, leaves
//! an upload unfinished, and copies what is then on disk. All contents are deterministic: a second capture gives the
//! same digests, only the upload's id differs. Run it through `scripts/capture-sample-registry`.
//!
//! Two things are not as the registry left them. The date in the one `startedat` file is set back, because an upload
//! is stale only after a week. And folders with nothing in them are left out, because git does not keep them: what is
//! in the working tree after a capture is what a clone gets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a developer's tool, which may end loudly")]
#![allow(clippy::disallowed_methods, reason = "it writes the fixture")]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

#[path = "../tests/support/mod.rs"]
mod support;

use support::image::{self, Image, layer};
use support::real::RealRegistry;
use support::real::disk::v2_of;

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";
const LONG_AGO: &str = "2024-01-02T03:04:05Z";
/// What the fixture may cost everybody who clones the repository.
const BUDGET: u64 = 250 * 1024;

fn main() {
    let target = std::env::args_os()
        .nth(1)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sample-registry"), PathBuf::from);
    println!("starting docker-registry on a temporary folder");
    let mut registry = RealRegistry::start();
    platform_team(&registry);
    web_team(&registry);
    api_team(&registry);
    let upload = unfinished_upload(&registry);
    tools(&registry);
    let tags = registry.pull_all();
    println!("pulled all {} tags back, on all platforms: every digest is right", tags.len());

    registry.stop();
    println!("setting the date in {} back to {LONG_AGO}", in_v2(&registry, &upload.join("startedat")));
    fs::write(upload.join("startedat"), LONG_AGO).unwrap();

    let docker = target.join("docker");
    if let Err(error) = fs::remove_dir_all(&docker) {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{}: {error}", docker.display());
    }
    let (files, bytes) = copy_files(&registry.v2(), &v2_of(&target));
    println!("wrote {files} files, {bytes} bytes, to {}", v2_of(&target).display());
    assert!(bytes <= BUDGET, "the fixture may have {BUDGET} bytes: make the layers smaller");
}

/// `platform/base/alpine`: multi-arch indexes with a provenance attestation; 3.21 was built again and pushed again, so
/// that the first build's index and its platforms are untagged.
fn platform_team(registry: &RealRegistry) {
    let repository = "platform/base/alpine";
    println!("pushing {repository}: 3.20, 3.21, 3.21 again, latest");
    registry.push(repository, "3.20", &alpine("3.20", 7_100));
    registry.push(repository, "3.21", &alpine("3.21", 7_400));
    let rebuilt = alpine("3.21 rebuilt", 7_500);
    registry.push(repository, "3.21", &rebuilt);
    registry.push(repository, "latest", &rebuilt);
}

fn alpine(version: &str, size: usize) -> Image {
    let of = |platform: &str, size: usize| {
        let words = format!("alpine {version} {platform}");
        Image::oci(&words, platform, &[layer(&words, size)])
    };
    let (amd64, arm64) = (of(AMD64, size), of(ARM64, size - 600));
    let provenance = Image::attestation(&amd64);
    Image::index(&[amd64, arm64, provenance])
}

fn alpine_3_20_layer() -> image::Layer {
    layer("alpine 3.20 linux/amd64", 7_100)
}

/// `team/web` on the shared base: a release candidate that `latest` pointed at and that was then deleted through the
/// API, and an SBOM that refers to a release without a tag of its own.
fn web_team(registry: &RealRegistry) {
    let repository = "team/web";
    println!("pushing {repository}: 1.4.0, 1.4.1-rc1, 1.4.1, latest three times, and an SBOM");
    let version = |words: &str, modules: &str, modules_size: usize| {
        let layers =
            [alpine_3_20_layer(), layer(&format!("node_modules {modules}"), modules_size), layer(words, 2_300)];
        Image::oci(words, AMD64, &layers)
    };
    let first = version("web 1.4.0", "of May", 13_900);
    let candidate = version("web 1.4.1-rc1", "of June", 17_300);
    let second = version("web 1.4.1", "of May", 13_900);
    registry.push(repository, "1.4.0", &first);
    registry.push(repository, "latest", &first);
    registry.push(repository, "1.4.1-rc1", &candidate);
    registry.push(repository, "latest", &candidate);
    registry.push(repository, "1.4.1", &second);
    registry.push(repository, "latest", &second);
    registry.push_untagged(repository, &Image::referrer("sbom of web 1.4.1", "application/spdx+json", &second, 1_800));
    println!("deleting {repository}:1.4.1-rc1 through the API");
    registry.api_delete(repository, &candidate.digest());
}

/// `team/api` on the same base, in Docker's own formats, and `team/worker`, which is pushed under one tag only.
fn api_team(registry: &RealRegistry) {
    println!("pushing team/api: 2.0.0, 2.1.0; team/worker: main three times");
    let runtime = layer("jre 21", 19_600);
    let on_amd64 =
        |words: &str| Image::docker(words, AMD64, &[alpine_3_20_layer(), runtime.clone(), layer(words, 3_100)]);
    let on_arm64 = Image::docker("api 2.1.0 for arm", ARM64, &[layer("api 2.1.0 for arm, one layer", 8_200)]);
    registry.push("team/api", "2.0.0", &on_amd64("api 2.0.0"));
    registry.push("team/api", "2.1.0", &Image::manifest_list(&[on_amd64("api 2.1.0"), on_arm64]));
    for build in ["worker build 311", "worker build 312", "worker build 313"] {
        let image = Image::oci(build, AMD64, &[alpine_3_20_layer(), layer(build, 4_200)]);
        registry.push("team/worker", "main", &image);
    }
}

/// `team/api` again: a push that broke off. One layer had arrived whole and no manifest ever named it; the next one
/// stopped halfway. Gives the folder of that upload.
fn unfinished_upload(registry: &RealRegistry) -> PathBuf {
    println!("breaking off a push to team/api: one layer uploaded, the next one half");
    registry.upload("team/api", layer("api 2.2.0, never pushed whole", 12_400).bytes());
    registry.abandon_upload("team/api", &image::noise("half a layer of api 2.2.0", 9_300))
}

/// `tools/ci`: a runner with a build cache as BuildKit exports it; `tools/charts/web`: a Helm chart.
fn tools(registry: &RealRegistry) {
    println!("pushing tools/ci: runner, nightly, cache; tools/charts/web: 0.3.0");
    let runner = [alpine_3_20_layer(), layer("runner", 6_800)];
    let nightly = Image::oci("nightly", AMD64, &[alpine_3_20_layer(), layer("nightly", 5_900)]);
    registry.push("tools/ci", "runner", &Image::oci("runner", AMD64, &runner));
    registry.push("tools/ci", "nightly", &nightly);
    registry.push("tools/ci", "cache", &Image::build_cache("cache of runner", &runner));
    let chart_type = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    registry.push("tools/charts/web", "0.3.0", &Image::oci_artifact("chart web 0.3.0", chart_type, 1_400));
    println!("deleting tools/ci:nightly through the API");
    registry.api_delete("tools/ci", &nightly.digest());
}

fn in_v2(registry: &RealRegistry, path: &Path) -> String {
    path.strip_prefix(registry.v2()).unwrap().display().to_string()
}

/// Copies all files, and only the folders that they need; gives their number and size.
fn copy_files(from: &Path, to: &Path) -> (usize, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in WalkDir::new(from) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let target = to.join(entry.path().strip_prefix(from).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            // Content alone: a fixture needs no owner and no time of its own, and git keeps neither.
            fs::write(&target, fs::read(entry.path()).unwrap()).unwrap();
            files += 1;
            bytes += entry.metadata().unwrap().len();
        }
    }
    (files, bytes)
}
