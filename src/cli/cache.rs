//! How much of a pull-through cache stays: options of `gc`.

use anyhow::anyhow;
use regsweep::cache::schedule::STATE;
use regsweep::policy::{Limits, parse_size};

use super::Failure;
use super::target::{Age, Opened};

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
    /// cache: where a config is given it decides, otherwise the state file that every cache writes.
    pub(crate) fn limits(&self, opened: &Opened) -> Result<Option<Limits>, Failure> {
        if self.cache_max_size.is_none() && self.cache_max_age.is_none() {
            return Ok(None);
        }
        let has_state = opened.registry.storage_root_with(STATE).is_some();
        let is_configured = match (opened.is_configured_as_cache(), has_state) {
            (Some(true), _) => true,
            (None, true) => false,
            (Some(false), _) => {
                return Err(Failure::usage(anyhow!(
                    "--cache-max-size and --cache-max-age are for pull-through caches, and the config has no \
                     proxy.remoteurl: what goes from this registry could be fetched from nowhere"
                )));
            }
            (None, false) => {
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
        given
    }
}
