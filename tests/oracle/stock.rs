//! Side by side with the registry's own collector (`docker-registry garbage-collect`, 2.8.2) on random registries.
//!
//! Only such registries as it gets right ([`Scope`]); `tests/stock_collector.rs` shows where it does not, and pins that
//! down. The same blobs go. Links are not compared: it leaves those of layers alone.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::built::Built;
use super::naive::Wish;
use super::world::Scope;
use super::{REGISTRIES, Seen, decide, holds, mode, named, same, thousands};
use crate::support::real::disk::{blobs_of, copy_tree};
use crate::support::real::stock_collector;
use crate::support::tree::blob_object;

fn takes_the_same_blobs(property: &str, scope: Scope, untagged_goes: bool) {
    let wish = Wish { untagged_goes, going: None };
    let seen = Seen::default();
    holds(property, REGISTRIES / 12, scope, |world| {
        let built = Built::new(world);
        let copy = built.tree.beside().join("stock");
        copy_tree(&built.tree.root(), &copy);
        let flags: &[&str] = if untagged_goes { &["-m"] } else { &[] };
        let run = stock_collector(&copy, flags);
        prop_assert_eq!(run.code, 0, "the stock collector fails: {}", run.stderr);
        let (before, left) = (blobs_of(&built.tree.root()), blobs_of(&copy));
        let stock: BTreeSet<String> = before.difference(&left).map(|digest| blob_object(digest)).collect();
        let (_, collection, _) = decide(&built.tree.root(), wish, false);
        let ours = named(&collection).into_iter().filter(|object| object.starts_with("blob ")).collect();
        same(&built, mode(wish), [("regsweep", &ours), ("the stock collector", &stock)])?;
        seen.add("registries", 1);
        seen.add("blobs", before.len());
        seen.add("garbage", stock.len());
        seen.add("registries with garbage", usize::from(!stock.is_empty()));
        Ok(())
    });
    println!(
        "oracle: {} random registries, the stock collector takes the same {} of {} blobs {}",
        thousands(seen.count("registries")),
        thousands(seen.count("garbage")),
        thousands(seen.count("blobs")),
        mode(wish)
    );
    assert!(2 * seen.count("registries with garbage") >= seen.count("registries"), "most have nothing to compare");
}

#[test]
fn the_stock_collector_takes_the_same_blobs_by_default() {
    takes_the_same_blobs("the stock collector by default", Scope::StockDefault, false);
}

#[test]
fn the_stock_collector_takes_the_same_blobs_with_delete_untagged() {
    takes_the_same_blobs("the stock collector with -m", Scope::StockUntagged, true);
}
