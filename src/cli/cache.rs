//! How much of a pull-through cache stays: options of `gc`.

use anyhow::anyhow;
use regsweep::cache::schedule::STATE;
use regsweep::layout::shown_path;
use regsweep::policy::{Limits, parse_size};

use super::Failure;
use super::target::{Age, CacheConfig, Opened};

/// Where the registry's environment says what its storage root is.
const ROOT_VARIABLE: &str = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";

/// How much of a cache stays.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Pull-through caches")]
pub(crate) struct Cache {
    /// Evict what was pulled the longest ago
    ///
    /// Whole images, until the blobs that stay have at most this size, such as 200GiB. Only of a pull-through cache,
    /// and only while it is stopped. What is evicted is fetched again when somebody pulls it.
    #[arg(long, value_name = "SIZE")]
    cache_max_size: Option<Size>,

    /// Evict what nobody has pulled for this time
    ///
    /// Whole images, for instance after 30d.
    #[arg(long, value_name = "D")]
    cache_max_age: Option<Age>,

    /// Everything in it was fetched, scheduled or not
    ///
    /// Images that scheduler-state.json does not name stay otherwise: they may have been pushed before this was a
    /// cache, and then nobody can fetch them again. Where nothing was ever pushed, and the cache keeps no schedule
    /// (ttl: 0) or has lost it, this lets them go like all others.
    #[arg(long)]
    cache_unscheduled: bool,
}

/// A size, as somebody wrote it: `200GiB`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Size {
    bytes: u64,
    text: String,
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let bytes = parse_size(text).ok_or_else(|| format!("'{text}' is no size: write 200GiB, 500MiB or a number"))?;
        Ok(Size { bytes, text: text.to_owned() })
    }
}

impl Cache {
    /// What the options come to; `None` without any.
    ///
    /// What a cache loses can be fetched again; what any other registry loses cannot. So nothing else is taken for a
    /// cache: a config that names this very folder decides. One that names another may be that of a container, or that
    /// of the registry beside: then, and without one, the state file that every cache writes.
    pub(crate) fn limits(&self, opened: &Opened) -> Result<Option<Limits>, Failure> {
        if self.cache_max_size.is_none() && self.cache_max_age.is_none() {
            if self.cache_unscheduled {
                let message = "--cache-unscheduled goes with --cache-max-size or --cache-max-age";
                return Err(Failure::usage(anyhow!(message)));
            }
            return Ok(None);
        }
        let is_configured = match (opened.cache_config(), opened.has_cache_state()) {
            (CacheConfig::Cache, _) => true,
            (CacheConfig::NotGiven | CacheConfig::CacheElsewhere(_), true) => false,
            (CacheConfig::NoCache, _) => {
                return Err(Failure::usage(anyhow!(
                    "--cache-max-size and --cache-max-age are for pull-through caches, and the config has no \
                     proxy.remoteurl: what goes from this registry could be fetched from nowhere"
                )));
            }
            (CacheConfig::CacheElsewhere(root), false) => {
                return Err(Failure::usage(anyhow!(
                    "--cache-max-size and --cache-max-age are for pull-through caches, and nothing shows that {} is \
                     one: there is no {STATE} in its storage root, and the storage root of the config is {}. If that is \
                     where its container sees this folder, set {ROOT_VARIABLE} to the folder for this command",
                    shown_path(opened.registry.root()),
                    shown_path(root),
                )));
            }
            (CacheConfig::NotGiven, false) => {
                return Err(Failure::usage(anyhow!(
                    "--cache-max-size and --cache-max-age are for pull-through caches, and nothing shows that this is \
                     one: there is no {STATE} in its storage root. Give its config: --config FILE"
                )));
            }
        };
        Ok(Some(Limits {
            max_bytes: self.cache_max_size.as_ref().map(|size| size.bytes),
            max_age: self.cache_max_age.as_ref().map(|age| age.seconds),
            is_configured,
            takes_unscheduled: self.cache_unscheduled,
        }))
    }

    /// The options as they were given, for a command that is suggested.
    pub(crate) fn as_given(&self) -> String {
        let mut given = String::new();
        if let Some(size) = &self.cache_max_size {
            given.push_str(&format!(" --cache-max-size {}", size.text));
        }
        if let Some(age) = &self.cache_max_age {
            given.push_str(&format!(" --cache-max-age '{}'", age.text));
        }
        if self.cache_unscheduled {
            given.push_str(" --cache-unscheduled");
        }
        given
    }
}
