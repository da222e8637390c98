//! Which repositories a scan reads, and what of them.

use std::fmt;

/// Which repositories are read, by their names as they may be shown, and what of them.
#[derive(Clone, Copy)]
pub struct Selection<'a> {
    /// Whether the repository of this name is read.
    pub wants: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether a folder is opened: it may be a repository that is wanted, or one may lie anywhere below it.
    pub leads_to: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether nothing is read but tags and revisions: no layer links, no uploads.
    pub manifests_only: bool,
}

impl Selection<'_> {
    /// Everything of every repository.
    pub const EVERYTHING: Selection<'static> =
        Selection { wants: &|_| true, leads_to: &|_| true, manifests_only: false };
}

impl fmt::Debug for Selection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection").field("manifests_only", &self.manifests_only).finish_non_exhaustive()
    }
}
