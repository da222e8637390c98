//! One tree with everything in it.

use std::fs;
use std::time::Duration;

use super::{Blob, Manifest, Tree, write};
use crate::support::formats::sha256;

const HOUR: Duration = Duration::from_secs(3600);

/// One tree with everything in it: garbage of every kind beside live images of every kind.
pub(crate) fn everything() -> Tree {
    let tree = Tree::new();
    tree.fill_with_everything();
    tree
}

impl Tree {
    /// The same, into a tree that is there.
    pub(crate) fn fill_with_everything(&self) {
        let app = self.repository("team/app");
        app.image("v1");
        let moved = app.image("latest");
        app.push_tagged("latest", &Manifest::oci("newer", &["base", "newer"]));
        let deleted = app.image_with_layers("deleted", &["deleted"]);
        app.delete_by_api(&deleted);
        let by_hand = app.image_with_layers("by-hand", &["by hand"]);
        app.delete_by_hand("by-hand", &by_hand);
        app.push(&Manifest::referrer("signature", &moved));
        let nested = self.repository("team/app/nested");
        let [amd64, arm64, loose] = ["amd64", "arm64", "loose"].map(|words| Manifest::docker(words, &["base", words]));
        [&amd64, &arm64, &loose].iter().for_each(|child| nested.push(child));
        nested.index("multi", &[&amd64, &arm64]);
        nested.push(&Manifest::index("loose index", &[&amd64, &loose]));
        nested.stray_layer("stray");
        nested.upload("stale", 400 * HOUR);
        nested.upload("fresh", HOUR);
        let old = self.repository("old");
        old.push_tagged("s1", &Manifest::schema1("s1", &["s1"]));
        old.push_tagged("unknown", &Manifest::unknown("u", &["u1", "u2"]));
        old.push_tagged("moved", &Manifest::artifact("a", &["a1"]));
        old.push_tagged("moved", &Manifest::artifact("b", &["b1"]));
        fs::create_dir_all(old.layer(&sha256(b"empty"))).unwrap();
        self.orphan("orphan one");
        self.orphan("orphan two");
        self.put(&Blob::sha512(b"orphan by sha512".to_vec()));
        write(&self.v2().join("lost+found/x"), b"?");
    }
}
