//! Manifests: bytes to references.
//!
//! [`parse()`] is pure: bytes in, references out; so is [`details()`], for what a person wants to know. [`Reading`]
//! reads manifests from the blob store and verifies them; [`Store`] keeps what they reference as small numbers.

mod details;
mod parse;
mod store;

pub use details::{BlobDetails, ChildDetails, Config, Details, Form, MAX_CONFIG_BYTES, config, details};
pub use parse::{Expect, ManifestError, Parsed, Reference, parse};
pub(crate) use store::signature_links;
pub use store::{Loaded, Manifest, Reading, Store};

/// The most that a manifest may have, in bytes: what the registry accepts (distribution,
/// `registry/handlers/manifests.go`: 4 MiB).
pub const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;
