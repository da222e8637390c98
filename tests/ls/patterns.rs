//! What a pattern names.

use super::support::tree::Tree;
use super::{column, ls, ls_for_people, repositories};

/// ```text
/// db: v1       team: latest       team/app: v1 v2 v2-rc1       team/app/cache: main       team/web: v1
/// ```
fn registry() -> Tree {
    let tree = Tree::new();
    for (name, tags) in [
        ("db", &["v1"][..]),
        ("team", &["latest"]),
        ("team/app", &["v1", "v2", "v2-rc1"]),
        ("team/app/cache", &["main"]),
        ("team/web", &["v1"]),
        ("base/os/alpine", &["3.20"]),
        ("base/os/debian", &["12"]),
    ] {
        tags.iter().for_each(|tag| drop(tree.repository(name).image(tag)));
    }
    tree
}

#[test]
fn patterns_name_repositories_and_tags() {
    let tree = registry();
    for (pattern, expected) in [
        // The name of a repository: its tags, also where others lie below it.
        ("db", &["db: v1"][..]),
        ("team", &["team: latest"]),
        ("team/app", &["team/app: v1 v2 v2-rc1"]),
        ("team/app/", &["team/app: v1 v2 v2-rc1"]),
        // A folder: the repositories below it.
        ("base", &["base/os/alpine", "base/os/debian"]),
        ("base/os/", &["base/os/alpine", "base/os/debian"]),
        // A glob: the repositories that match.
        ("team/*", &["team/app", "team/web"]),
        ("**/a*", &["base/os/alpine", "team/app"]),
        ("{db,team/web}", &["db", "team/web"]),
        ("d[a-c]", &["db"]),
        // With a tag: the tags of all of them, and those that have none are left out.
        ("team/app:v2", &["team/app: v2"]),
        ("team/app:v2*", &["team/app: v2 v2-rc1"]),
        ("**:v1", &["db: v1", "team/app: v1", "team/web: v1"]),
        ("{db,team/*}:v{1,2}", &["db: v1", "team/app: v1 v2", "team/web: v1"]),
        ("team/**:*", &["team/app: v1 v2 v2-rc1", "team/app/cache: main", "team/web: v1"]),
    ] {
        let run = ls(&tree, &[pattern]);
        let listed = repositories(run.exits(0));
        let said: Vec<String> = listed
            .iter()
            .map(|repository| match repository["manifests"].as_array() {
                Some(rows) => format!("{}: {}", repository["name"].as_str().unwrap(), column(rows, "tag").join(" ")),
                None => repository["name"].as_str().unwrap().to_owned(),
            })
            .collect();
        assert_eq!(said, expected, "{pattern}");
    }
}

/// Exit 1, one line with what may have been meant, and no half document.
#[test]
fn what_is_not_there_is_said_in_one_line() {
    let tree = registry();
    for (pattern, says) in [
        ("team/ap", &["team/ap", "did you mean team/app"][..]),
        ("Team/Web", &["did you mean team/web"]),
        ("db:v2", &["db", "v2", "did you mean v1"]),
        ("d:v1", &["did you mean db"]),
        ("team/*:v9", &["v9", "team/*"]),
        ("x/**", &["x/**"]),
        ("base/o", &["no repository", "base/o"]),
        ("team/app\u{1b}]2J", &["team/app"]),
    ] {
        for run in [ls(&tree, &[pattern]), ls_for_people(&tree, &[pattern, "--tree"])] {
            run.exits(1);
            assert_eq!(run.text(), "", "{pattern}");
            assert_eq!(run.stderr.lines().count(), 1, "{pattern}: {}", run.stderr);
            assert!(!run.stderr.contains('\u{1b}'), "{:?}", run.stderr);
            says.iter().for_each(|word| assert!(run.stderr.contains(word), "{pattern}: no {word:?} in {}", run.stderr));
        }
    }
    for pattern in ["[", "db:", ":v1", "db:{a", "", "\u{1b}[2J"] {
        let run = ls(&tree, &[pattern]);
        run.exits(2);
        assert_eq!((run.text().as_str(), run.stderr.lines().count()), ("", 1), "{pattern:?}: {}", run.stderr);
        assert!(!run.stderr.contains('\u{1b}'), "{:?}", run.stderr);
    }
}

/// In a registry of thousands of repositories the one that was named is opened, and no other: behind an error that
/// everything else gives nothing changes.
#[test]
fn other_repositories_are_not_opened() {
    let tree = registry();
    let run = ls(&tree, &["team/app"]);
    let others = ["db", "team/web", "base"].map(|name| tree.unreadable(&tree.repositories().join(name)));
    for pattern in ["team/app", "team/app:v*", "team/a*"] {
        let run = ls(&tree, &[pattern]);
        run.exits(0);
        assert_eq!(run.stderr, "", "{pattern}");
    }
    assert_eq!(ls(&tree, &["team/app"]).text(), run.text());
    ls(&tree, &[]).exits(3);
    for other in others {
        other.mend();
    }
}

#[test]
fn a_registry_with_nothing_in_it() {
    let tree = Tree::new();
    let run = ls(&tree, &[]);
    assert_eq!(repositories(run.exits(0)).len(), 0);
    assert_eq!(ls_for_people(&tree, &[]).exits(0).text(), "no repositories\n");
    ls(&tree, &["db"]).exits(1);
    let app = tree.repository("app");
    app.untagged("loose");
    assert_eq!(ls_for_people(&tree, &["app"]).exits(0).text(), "no tags; --untagged shows 1 manifest\n");
}
