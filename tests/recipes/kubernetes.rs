//! Kubernetes. There is no cluster here: what the objects say is held against each other and, where `kubectl` is
//! installed, against the types that it knows; and the commands of the settings run with a stand-in for `kubectl` that
//! does to a real registry what a deployment would.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::recipe;
use crate::scene::{Scene, Shell};
use crate::support::process::finish;
use crate::yaml::documents;

const FILES: [&str; 5] = ["registry.yaml", "rights.yaml", "window.yaml", "window-job.yaml", "guard-job.yaml"];

fn objects() -> Vec<Value> {
    let text = |name: &&str| fs::read_to_string(recipe("kubernetes").join(name)).unwrap();
    FILES.iter().flat_map(|name| documents(&text(name))).collect()
}

fn object(kind: &str, name: &str) -> Value {
    let is_it = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects().into_iter().find(is_it).unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect()
}

/// What is in one value and not in another, as paths.
fn missing(ours: &Value, theirs: &Value, at: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, value) in ours {
                let at = format!("{at}.{key}");
                match theirs.get(key) {
                    Some(other) => missing(value, other, &at, found),
                    // What is empty is left out when it is written.
                    None if *value == json!({}) => {}
                    None => found.push(at),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (number, (one, other)) in ours.iter().zip(theirs).enumerate() {
                missing(one, other, &format!("{at}[{number}]"), found);
            }
        }
        _ if ours == theirs => {}
        _ => found.push(format!("{at}: {ours} became {theirs}")),
    }
}

/// `kubectl set env --local` reads an object into its type, and writes it again: what is misspelt is gone then. It does
/// so for what has pods in it.
#[test]
fn kubectl_knows_every_field() {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        println!("skipped: kubectl is not installed, so nobody knows whether it would understand these objects");
        return;
    }
    let read = |object: &Value| {
        let mut command = Command::new("kubectl");
        command.args(["set", "env", "--local", "--filename=-", "--output=json", "WITNESS=1"]);
        let run = crate::support::process::finish_reading(command, &object.to_string());
        serde_json::from_slice::<Value>(&run.exits(0).stdout).unwrap()
    };
    let without_env = |mut object: Value| {
        let spec = object.pointer_mut("/spec/jobTemplate/spec/template/spec/containers/0").or(None);
        if let Some(container) = spec {
            container.as_object_mut().unwrap().remove("env");
        }
        object
    };
    for (kind, name) in [("CronJob", "regsweep"), ("CronJob", "regsweep-guard"), ("Deployment", "registry")] {
        let ours = without_env(object(kind, name));
        let mut found = Vec::new();
        missing(&ours, &read(&ours), name, &mut found);
        assert!(found.is_empty(), "{found:?}");
    }
    let mut wrong = object("CronJob", "regsweep");
    wrong["spec"]["concurencyPolicy"] = json!("Forbid");
    let mut found = Vec::new();
    missing(&without_env(wrong.clone()), &read(&wrong), "", &mut found);
    assert_eq!(found, [".spec.concurencyPolicy"]);
}

/// Every object has what its kind has, and nothing else.
#[test]
fn objects_have_the_fields_of_their_kind() {
    let known: [(&str, &str, &[&str]); 8] = [
        ("ConfigMap", "v1", &["data"]),
        ("CronJob", "batch/v1", &["spec"]),
        ("Deployment", "apps/v1", &["spec"]),
        ("PersistentVolumeClaim", "v1", &["spec"]),
        ("Role", "rbac.authorization.k8s.io/v1", &["rules"]),
        ("RoleBinding", "rbac.authorization.k8s.io/v1", &["roleRef", "subjects"]),
        ("Service", "v1", &["spec"]),
        ("ServiceAccount", "v1", &[]),
    ];
    let objects = objects();
    assert_eq!(objects.len(), 12);
    for object in &objects {
        let kind = object["kind"].as_str().unwrap();
        let (_, version, own) = known.iter().find(|(name, ..)| *name == kind).unwrap_or_else(|| panic!("{kind}"));
        assert_eq!(object["apiVersion"], *version, "{kind}");
        let mut expected = [&["apiVersion", "kind", "metadata"], *own].concat();
        expected.sort_unstable();
        assert_eq!(keys(object), expected, "{kind}");
        assert_eq!(keys(&object["metadata"]), ["name", "namespace"], "{kind}");
        assert_eq!(object["metadata"]["namespace"], "registry", "{kind}");
        for rule in object["rules"].as_array().into_iter().flatten() {
            assert!(keys(rule).iter().all(|key| ["apiGroups", "resourceNames", "resources", "verbs"].contains(key)));
        }
    }
}

/// The window may change one deployment; the guard may see pods beside that. Nobody may do anything else.
#[test]
fn the_rights_are_the_least() {
    let deployment = json!({
        "apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["registry"],
        "verbs": ["get", "list", "watch", "patch"],
    });
    assert_eq!(object("Role", "regsweep")["rules"], json!([deployment]));
    let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]});
    assert_eq!(object("Role", "regsweep-guard")["rules"], json!([pods]));
    let account = |name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": "registry"});
    for (name, subjects) in [
        ("regsweep", json!([account("regsweep"), account("regsweep-guard")])),
        ("regsweep-guard", json!([account("regsweep-guard")])),
    ] {
        let binding = object("RoleBinding", name);
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
        assert_eq!((&binding["roleRef"], &binding["subjects"]), (&role, &subjects));
        object("ServiceAccount", name);
    }
}

#[test]
fn the_jobs_are_shut_in_and_end_in_time() {
    for name in ["regsweep", "regsweep-guard"] {
        let job = object("CronJob", name);
        assert_eq!(job["spec"]["concurrencyPolicy"], "Forbid");
        assert!(job["spec"]["startingDeadlineSeconds"].as_u64().unwrap() <= 600);
        let job = &job["spec"]["jobTemplate"]["spec"];
        assert_eq!(job["backoffLimit"], 0);
        let pod = &job["template"]["spec"];
        assert_eq!((&pod["restartPolicy"], &pod["serviceAccountName"]), (&"Never".into(), &name.into()));
        let user = json!({
            "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"},
        });
        assert_eq!(pod["securityContext"], user);
        let container = &pod["containers"][0];
        let shut_in = json!({
            "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(container["securityContext"], shut_in);
        assert_eq!(container["image"], "REGSWEEP_IMAGE");
        // What is mounted is there, and where it is written to is no part of the image.
        for mount in container["volumeMounts"].as_array().unwrap() {
            let volumes = pod["volumes"].as_array().unwrap();
            assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
        }
        // More than the collector takes (45 minutes and four waits of five), and time to become writable afterwards.
        let seconds = |value: &Value| value.as_u64().unwrap();
        assert!(seconds(&pod["terminationGracePeriodSeconds"]) >= 600);
        if name == "regsweep" {
            assert!(seconds(&job["activeDeadlineSeconds"]) >= (45 + 20) * 60);
        }
    }
}

/// Names that one object has from another.
#[test]
fn the_objects_fit_together() {
    let registry = object("Deployment", "registry");
    let template = &registry["spec"]["template"];
    let labels = &template["metadata"]["labels"];
    assert_eq!(&registry["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&object("Service", "registry")["spec"]["selector"], labels);
    assert_eq!(registry["spec"]["strategy"]["type"], "Recreate");
    let window = object("CronJob", "regsweep")["spec"]["jobTemplate"]["spec"]["template"].clone();
    let guard = object("CronJob", "regsweep-guard")["spec"]["jobTemplate"]["spec"]["template"].clone();
    let near = &window["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(near, &json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}));
    let near = &template["spec"]["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(near["podAffinityTerm"]["labelSelector"]["matchLabels"], window["metadata"]["labels"]);
    assert_ne!(window["metadata"]["labels"], guard["metadata"]["labels"], "the guard would take itself for a window");
    for key in ["runAsUser", "runAsGroup"] {
        assert_eq!(template["spec"]["securityContext"][key], window["spec"]["securityContext"][key], "{key}");
    }
    let claim = |pod: &Value| pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"].clone();
    assert_eq!((claim(template), claim(&window)), ("registry".into(), "registry".into()));
    object("PersistentVolumeClaim", "registry");
    // Where the settings say that things are.
    let settings = settings();
    let storage = &window["spec"]["containers"][0]["volumeMounts"][0]["mountPath"];
    assert!(settings.contains(&format!("STORAGE={}\n", storage.as_str().unwrap())), "{settings}");
    assert!(settings.contains("URL=http://registry.registry.svc:5000\n"), "{settings}");
    let label = window["metadata"]["labels"]["app.kubernetes.io/name"].as_str().unwrap();
    assert!(settings.contains(&format!("--selector app.kubernetes.io/name={label} ")), "{settings}");
    // The guard does not look when the window begins.
    let schedule = |name: &str| object("CronJob", name)["spec"]["schedule"].as_str().unwrap().to_owned();
    let (begins, looks) = (schedule("regsweep"), schedule("regsweep-guard"));
    let begins: u32 = begins.split(' ').next().unwrap().parse().unwrap();
    let looks: Vec<u32> = looks.split(' ').next().unwrap().split(',').map(|minute| minute.parse().unwrap()).collect();
    assert!(looks.iter().all(|minute| !(begins..begins + 10).contains(minute)), "{looks:?}");
    // How long a registry may wait for it is on the page.
    let next = looks.iter().skip(1).copied().chain([looks[0] + 60]);
    let longest = looks.iter().zip(next).map(|(minute, next)| next - minute).max().unwrap();
    let page = fs::read_to_string(recipe("kubernetes.md")).unwrap();
    assert!(page.contains(&format!("when it looks next: within {longest} minutes |")), "{longest}");
    // A node that dies: a minute until it is seen, five until its pods are to go, and what these have to end.
    let waits = 1 + 5 + window["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap() / 60;
    let latest = waits + u64::from(longest);
    assert!((20..25).contains(&waits) && (40..=45).contains(&latest), "{waits} {latest}");
    assert!(page.contains("| the guard, after 20 to 45 minutes |"));
}

fn settings() -> String {
    object("ConfigMap", "regsweep")["data"]["window.conf"].as_str().unwrap().to_owned()
}

/// A deployment: its variables, and a pod that is replaced when they have changed.
const KUBECTL: &str = r#"#!/bin/sh
[ "$1 $2" = "--namespace registry" ] || { echo "what is $1 $2?" >&2; exit 64; }
shift 2
case "$1 $2 $3" in
    "set env deployment/registry")
        [ $# -eq 4 ] || exit 64
        case $4 in
            REGISTRY_STORAGE_MAINTENANCE_READONLY-) value= ;;
            REGISTRY_STORAGE_MAINTENANCE_READONLY=*) value=${4#*=} ;;
            *) echo "what is $4?" >&2; exit 64 ;;
        esac
        [ "$value" != "$(cat SCENE/template 2>/dev/null)" ] || exit 0
        printf '%s' "$value" >SCENE/template
        : >SCENE/changed
        echo "deployment.apps/registry env updated"
        ;;
    "rollout status deployment/registry")
        [ "$4" = --timeout=5m ] || exit 64
        echo "deployment \"registry\" successfully rolled out"
        [ -e SCENE/changed ] || exit 0
        rm SCENE/changed
        exec restart "$(cat SCENE/template)"
        ;;
    "get pods --selector") cat SCENE/alive ;;
    *) echo "what is $*?" >&2; exit 64 ;;
esac
"#;

fn scene() -> (Scene, PathBuf) {
    let scene = Scene::new();
    scene.program("kubectl", KUBECTL);
    let text = Scene::untagged_too(&settings()).replace("/tmp/", &format!("{}/", scene.folder.path().display()));
    let text = text.replace("/var/lib/registry", &scene.settings["STORAGE"]);
    let text = text.replace("http://registry.registry.svc:5000", &scene.settings["URL"]);
    let file = scene.path("kubernetes.conf");
    fs::write(&file, format!("{text}MIN_FREE=1\n")).unwrap();
    (scene, file)
}

#[test]
fn the_job_is_a_window() {
    let (scene, file) = scene();
    let run = finish(scene.script(Shell::Busybox, &file, &[]));
    assert_eq!((run.code, run.said()), (0, String::new()));
    assert_eq!(scene.text("restarts"), "\n{\"enabled\":true}\n\n");
    scene.is_writable();
    assert_eq!(scene.trash().len(), 1, "kept for a week");
    scene.is_collected();
}

/// A pod that has ended is no reason to wait, and neither is one whose time to end has passed: its node is gone.
#[test]
fn the_guard_knows_which_pods_are_alive() {
    let (scene, file) = scene();
    let dead = "regsweep-1-aaaaa   Succeeded   <none>\nregsweep-2-bbbbb   Failed   <none>\n\
                regsweep-3-ccccc   Running   2024-05-17T09:30:00Z\n";
    for (alive, is_alive) in [
        ("regsweep-4-ddddd   Running   <none>\n", true),
        ("regsweep-4-ddddd   Pending   <none>\n", true),
        ("regsweep-4-ddddd   Unknown   <none>\n", true),
        ("regsweep-4-ddddd   Running   2999-05-17T09:30:00Z\n", true),
        ("", false),
    ] {
        for shell in [Shell::Dash, Shell::Busybox] {
            fs::write(scene.path("alive"), format!("{dead}{alive}")).unwrap();
            finish(scene.script(shell, &file, &["read-only"])).exits(0);
            scene.is_read_only();
            let restarts = scene.restarts();
            let run = finish(scene.script(shell, &file, &["guard"]));
            assert_eq!(run.code, 0, "{alive}: {}", run.said());
            assert_eq!(run.said().is_empty(), is_alive, "{alive}: {}", run.said());
            assert_eq!(scene.restarts() == restarts, is_alive, "{alive}");
        }
    }
    scene.is_writable();
    finish(scene.script(Shell::Dash, &file, &["read-only"])).exits(0);
    fs::remove_file(scene.path("alive")).unwrap();
    let run = finish(scene.script(Shell::Dash, &file, &["guard"]));
    assert_eq!(run.code, 1, "nobody knows: {}", run.said());
    scene.is_read_only();
}
