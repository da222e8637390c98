//! Docker Compose. There is no daemon here: a stand-in reads the file and starts the registry as it says.

use std::fs;

use crate::recipe;
use crate::scene::{Scene, Shell};
use crate::support::process::finish;
use crate::yaml::documents;

/// `docker compose --file FILE up --detach registry`: a container whose settings have changed is made anew.
const DOCKER: &str = r#"#!/bin/sh
[ "$1 $2 $4 $5 $6 $#" = "compose --file up --detach registry 6" ] || { echo "what is $*?" >&2; exit 64; }
value=$(sed -n "s/^ *REGISTRY_STORAGE_MAINTENANCE_READONLY: '\(.*\)'$/\1/p" "$3")
value=$(printf '%s' "$value" | sed "s/\${REGISTRY_READ_ONLY:-false}/${REGISTRY_READ_ONLY:-false}/")
[ "$value" != "$(cat SCENE/container 2>/dev/null)" ] || exit 0
printf '%s' "$value" >SCENE/container
echo "Container registry Started" >&2
exec restart "$value"
"#;

#[test]
fn compose_switches_the_registry() {
    let scene = Scene::new();
    scene.program("docker", DOCKER);
    let text = Scene::untagged_too(&fs::read_to_string(recipe("compose/window.conf")).unwrap());
    let text = text
        .replace("/srv/registry", &scene.settings["STORAGE"])
        .replace("http://127.0.0.1:5000", &scene.settings["URL"]);
    let text = text.replace("/etc/docker/registry/compose.yaml", recipe("compose/compose.yaml").to_str().unwrap());
    let text = text.replace("/var/log/regsweep", scene.folder.path().to_str().unwrap());
    let file = scene.path("compose.conf");
    fs::write(&file, format!("{text}LOCK={}\nMIN_FREE=1\n", scene.settings["LOCK"])).unwrap();
    let run = finish(scene.script(Shell::Dash, &file, &[]));
    assert_eq!((run.code, run.said()), (0, String::new()));
    assert_eq!(scene.text("restarts"), "\n{\"enabled\":true}\n{\"enabled\":false}\n");
    scene.is_writable();
    assert_eq!(scene.trash().len(), 1, "kept for a week");
    scene.is_collected();
    // Again, as after a reboot: nothing changes, so nothing is restarted.
    let run = finish(scene.script(Shell::Dash, &file, &["writable"]));
    assert_eq!((run.code, run.said(), scene.restarts()), (0, String::new(), 2));
}

#[test]
fn the_registry_of_the_file_is_the_one_of_the_settings() {
    let compose = &documents(&fs::read_to_string(recipe("compose/compose.yaml")).unwrap())[0];
    let registry = &compose["services"]["registry"];
    assert_eq!(registry["volumes"][0], "/srv/registry:/var/lib/registry");
    assert_eq!(registry["ports"][0], "127.0.0.1:5000:5000");
    let settings = fs::read_to_string(recipe("compose/window.conf")).unwrap();
    assert!(settings.contains("STORAGE=/srv/registry\n") && settings.contains("URL=http://127.0.0.1:5000\n"));
}

/// The file that is called everywhere is the same, and is no part of the storage.
#[test]
fn the_file_of_compose_has_one_name() {
    let mut names = Vec::new();
    for text in ["compose.md", "compose/window.conf"].map(|name| fs::read_to_string(recipe(name)).unwrap()) {
        let calls: Vec<String> =
            text.split("--file ").skip(1).map(|rest| rest.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(calls.len(), 2, "{calls:?}");
        names.extend(calls);
    }
    names.dedup();
    assert_eq!(names, ["/etc/docker/registry/compose.yaml"]);
}
