//! Trees whose truth is known.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::support::tree::{Blob, Manifest, Tree};
use super::{bytes, du, named, usage};

/// A manifest, its config and these layers, in bytes.
fn size(image: &Manifest, layers: &[&str]) -> u64 {
    let wanted: Vec<Blob> = layers.iter().map(|words| Blob::layer(words)).collect();
    let is_wanted = |blob: &&Blob| wanted.iter().any(|layer| layer.digest == blob.digest);
    let config = image.blobs[0].bytes.len() as u64;
    let layers: u64 = image.blobs[1..].iter().filter(is_wanted).map(|blob| blob.bytes.len() as u64).sum();
    image.bytes.len() as u64 + config + layers
}

fn layer(words: &str) -> u64 {
    Blob::layer(words).bytes.len() as u64
}

/// ```text
/// team/app   v1, latest => base, team, one     v2 => base, team, two     (untagged) => base, old
/// team/web   v1         => base, team, web
/// zoo        v1         => base, zoo
///            garbage: a layer that only zoo links, one that app and web link, an orphan
/// ```
#[test]
fn each_blob_is_in_one_place() {
    let tree = Tree::new();
    let (app, web, zoo) = (tree.repository("team/app"), tree.repository("team/web"), tree.repository("zoo"));
    let one = app.image_with_layers("v1", &["base", "team", "one"]);
    app.tag("latest", &one);
    let two = app.image_with_layers("v2", &["base", "team", "two"]);
    let old = app.untagged_with_layers("old", &["base", "old"]);
    let of_web = web.image_with_layers("v1", &["base", "team", "web"]);
    let of_zoo = zoo.image_with_layers("v1", &["base", "zoo"]);
    let stray = zoo.stray_layer("stray").bytes.len() as u64;
    let both = app.stray_layer("both").bytes.len() as u64;
    web.stray_layer("both");
    let orphan = tree.orphan("orphan").bytes.len() as u64;
    app.upload("0b9f7c9e-31bb-4e36-9c24-5f3b2b1f4a57", Duration::from_secs(60));

    let run = du(&tree, &["--tags"]);
    let document = usage(run.exits(0));
    let repository = |name: &str| named(&document["repositories"], name);
    let figure = |name: &str, field: &str| bytes(&repository(name)[field]);
    let (own_one, own_two, own_old) = (size(&one, &["one"]), size(&two, &["two"]), size(&old, &["old"]));
    assert_eq!(figure("team/app", "exclusive"), own_one + own_two + own_old);
    assert_eq!(figure("team/app", "total"), own_one + own_two + own_old + layer("base") + layer("team"));
    assert_eq!(figure("team/app", "shared"), layer("base") + layer("team"));
    assert_eq!(figure("team/app", "untagged"), own_old);
    assert_eq!(repository("team/app")["untagged_manifests"], 1);
    assert_eq!(figure("team/app", "common"), 0, "what its images share the others have as well");
    assert_eq!(figure("team/app", "garbage"), 0);
    assert_eq!(figure("team/web", "exclusive"), size(&of_web, &["web"]));
    assert_eq!(figure("zoo", "exclusive"), size(&of_zoo, &["zoo"]));
    assert_eq!(figure("zoo", "garbage"), stray);

    let tags = &repository("team/app")["tags"];
    let tag = |name: &str, field: &str| bytes(&named(tags, name)[field]);
    assert_eq!(tag("v2", "exclusive"), own_two);
    assert_eq!(tag("v1", "exclusive"), 0, "latest keeps it");
    assert_eq!(tag("latest", "total"), own_one + layer("base") + layer("team"));
    assert_eq!(named(tags, "v1")["shared_with"], 1);
    assert_eq!(named(tags, "v1")["digest"], one.digest);

    let team = named(&document["namespaces"], "team");
    assert_eq!(bytes(&team["common"]), layer("team"));
    assert_eq!(bytes(&team["shared"]), layer("base"));
    assert_eq!(
        bytes(&team["exclusive"]),
        figure("team/app", "exclusive") + figure("team/web", "exclusive") + layer("team")
    );
    assert_eq!(bytes(&team["total"]), bytes(&team["exclusive"]) + layer("base"));
    assert_eq!(team["repositories"], 2);

    let store = &document["store"];
    assert_eq!(bytes(&store["shared"]), layer("base") + layer("team"));
    assert_eq!(bytes(&store["garbage"]), stray + both + orphan);
    assert_eq!(bytes(&store["other"]), 0);
    assert_eq!(store["uploads"]["count"], 1);
    let parts: u64 = ["exclusive", "shared", "garbage"].iter().map(|part| bytes(&store[part])).sum();
    assert_eq!(bytes(&store["blobs"]), parts);

    let images = document["images"].as_array().unwrap();
    let largest = images.iter().map(|image| bytes(&image["exclusive"])).collect::<Vec<_>>();
    assert!(largest.is_sorted_by(|a, b| a >= b) && largest.len() == 4, "{largest:?}");
    let of_one = images.iter().find(|image| image["digest"] == one.digest.as_str()).unwrap();
    assert_eq!(bytes(&of_one["exclusive"]), own_one, "all of its tags together");
    assert_eq!(of_one["tags"], serde_json::json!(["latest", "v1"]));
}

/// What two names share with nobody else goes with both of them, and is exclusive to neither.
#[test]
fn together_names_free_more_than_each_for_itself() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let one = app.image_with_layers("rc1", &["rc", "one"]);
    let two = app.image_with_layers("rc2", &["rc", "two"]);
    app.image("v1");
    let frees = |names: &[&str]| -> u64 { bytes(&usage(du(&tree, names).exits(0))["names"]["frees"]) };
    assert_eq!(frees(&["app:rc1"]), size(&one, &["one"]));
    assert_eq!(frees(&["app:rc2"]), size(&two, &["two"]));
    let both = size(&one, &["one"]) + size(&two, &["two"]) + layer("rc");
    assert_eq!(frees(&["app:rc1", "app:rc2"]), both);
    assert_eq!(frees(&["*:rc*"]), both);
    assert_eq!(frees(&["app:rc1", "app:rc1"]), size(&one, &["one"]), "named twice");
}

/// ```text
/// app   v1 => image       sha256-<image>.sig       (untagged) SBOM --subject--> image
/// ```
#[test]
fn what_is_about_an_image_is_part_of_it() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let image = app.image_with_layers("v1", &["own"]);
    let (tag, signature) = app.cosign(&image, "sig");
    let sbom = Manifest::referrer("sbom", &image);
    app.push(&sbom);
    let whole = |it: &Manifest| it.bytes.len() + it.blobs.iter().map(|blob| blob.bytes.len()).sum::<usize>();
    let all = (whole(&image) + whole(&signature) + whole(&sbom)) as u64;

    let document = usage(du(&tree, &["--tags"]).exits(0));
    let app = named(&document["repositories"], "app");
    assert_eq!(bytes(&named(&app["tags"], "v1")["exclusive"]), all);
    assert_eq!(named(&app["tags"], &tag)["total"], Value::Null, "it goes with its image");
    assert_eq!((bytes(&app["untagged"]), &app["untagged_manifests"]), (0, &0.into()));
    // By its own name it can be removed for itself.
    let document = usage(du(&tree, &[&format!("app:{tag}")]).exits(0));
    assert_eq!(bytes(&document["names"]["frees"]), whole(&signature) as u64);
    assert_eq!(document["tags"][0]["exclusive"], document["names"]["frees"]);
}

/// A repository that is a namespace as well is two rows, and a folder of one repository is one.
#[test]
fn names_are_repositories_namespaces_or_tags() {
    let tree = Tree::new();
    for name in ["app", "app/web", "app-b", "team/x/deep"] {
        tree.repository(name).image_with_layers("v1", &[name]);
    }
    let selected = |arguments: &[&str]| -> Vec<String> {
        let document = usage(du(&tree, arguments).exits(0));
        serde_json::from_value(document["names"]["selected"].clone()).unwrap()
    };
    for (arguments, expected) in [
        (&["app"][..], &["app"][..]),
        (&["app", "--recursive"], &["app/"]),
        (&["team"], &["team/"]),
        (&["team/x/deep"], &["team/x/deep"]),
        (&["app*"], &["app", "app-b"]),
        (&["**:v1"], &["app:v1", "app-b:v1", "app/web:v1", "team/x/deep:v1"]),
        (&["app:v1", "team"], &["team/", "app:v1"]),
    ] {
        assert_eq!(selected(arguments), expected, "{arguments:?}");
    }
    let document = usage(du(&tree, &["app", "--recursive"]).exits(0));
    let names = |field: &str| -> Vec<String> {
        document[field].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names("namespaces"), names("repositories")),
        (vec!["app".to_owned()], vec!["app".into(), "app/web".into()])
    );
    for (arguments, says) in [
        (["ap"], "no repository is named ap (did you mean app?)"),
        (["z*"], "no repository matches z*"),
        (["app:v2"], "app has no tag that matches v2"),
        (["app*:v2"], "none of the 2 repositories"),
    ] {
        let run = du(&tree, &arguments);
        assert!(run.exits(1).stderr.contains(says), "{arguments:?}: {}", run.stderr);
        assert!(run.stdout.is_empty());
    }
}

/// By the time at which a blob was written, in UTC.
#[test]
fn blobs_are_told_by_the_month_of_their_push() {
    let tree = Tree::new();
    let app = tree.repository("app");
    let old = app.image_with_layers("v1", &["old"]);
    let new = app.untagged_with_layers("new", &["new"]);
    let orphan = tree.orphan("orphan");
    let set = |digest: &str, seconds| {
        let file = std::fs::File::options().write(true).open(tree.data(digest)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    };
    let of = |image: &Manifest, seconds| {
        set(&image.digest, seconds);
        image.blobs.iter().for_each(|blob| set(&blob.digest, seconds));
    };
    of(&old, 1_704_067_199);
    of(&new, 1_704_067_200);
    set(&orphan.digest, 1_704_067_200);
    let document = usage(du(&tree, &[]).exits(0));
    let months = document["months"].as_array().unwrap();
    let figures = |month: &Value| ["exclusive", "shared", "untagged", "garbage", "other"].map(|it| bytes(&month[it]));
    assert_eq!(months[0]["month"], "2023-12");
    assert_eq!(figures(&months[0]), [size(&old, &["old"]), 0, 0, 0, 0]);
    assert_eq!(months[1]["month"], "2024-01");
    assert_eq!(figures(&months[1]), [0, 0, size(&new, &["new"]), orphan.bytes.len() as u64, 0]);
    assert_eq!(months.len(), 2);
}
