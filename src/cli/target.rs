//! REGISTRY and the evidence that it is read-only: options that commands share.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use regsweep::cache::schedule::STATE;
use regsweep::config::RegistryConfig;
use regsweep::interlock::brakes::Percent;
use regsweep::interlock::evidence::{ReadOnly, Sources, gather};
use regsweep::interlock::probe::{Credentials, RegistryUrl, probe_for};
use regsweep::interlock::served::on_disk;
use regsweep::registry::{OpenError, Registry};
use regsweep::seam::Seam;
use regsweep::threads;

use super::{Failure, output, usage};

/// How long a probe waits for an answer.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Which registry.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The registry's storage root, or its config.yml
    ///
    /// The storage root is the folder that holds docker/registry/v2 (often /var/lib/registry; where the registry runs
    /// in a container, the folder that is mounted there). Any folder on the way down to v2 does as well.
    #[arg(value_name = "REGISTRY")]
    pub(crate) registry: PathBuf,
}

/// How it is shown that nobody writes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Evidence that the registry is read-only")]
pub(crate) struct Evidence {
    /// The registry's config.yml, where REGISTRY is a folder
    ///
    /// If it says storage.maintenance.readonly.enabled: true, that is evidence. The registry's environment overrides
    /// (REGISTRY_...) count as the registry counts them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The running registry, such as http://127.0.0.1:5000
    ///
    /// It is asked to take an empty manifest, which every registry refuses: 405 shows that it is read-only, 400 that it
    /// is not. Nothing is left behind. user:password@ or REGSWEEP_REGISTRY_AUTH=user:password for one that wants
    /// credentials.
    // Its own id: REGISTRY has the same name in clap's eyes.
    #[arg(id = "registry_url", long = "registry", value_name = "URL")]
    registry: Option<String>,

    /// You say that no registry is running on this storage
    #[arg(long)]
    registry_stopped: bool,
}

/// A registry that is open, and what its config says.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) registry: Registry,
    config: Option<(PathBuf, RegistryConfig)>,
    /// Whether REGISTRY was the config, so that the storage root comes from there.
    is_from_config: bool,
}

/// What the config that was given says of a pull-through cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheConfig<'a> {
    /// No config was given.
    NotGiven,
    /// It is not that of a cache.
    NoCache,
    /// It is that of a cache, and its storage root is the one that is open.
    Cache,
    /// It is that of a cache, with this storage root, which is not the one that is open: in a container this one may
    /// have another path, or it is another registry's.
    CacheElsewhere(&'a Path),
}

impl Target {
    /// Opens the registry: a folder, or what a config.yml names.
    pub(crate) fn open(&self, config: Option<&Path>) -> Result<Opened, Failure> {
        self.open_with(config, Seam::default())
    }

    /// [`Target::open`], with somebody between regsweep and the volume.
    pub(crate) fn open_with(&self, config: Option<&Path>, seam: Seam) -> Result<Opened, Failure> {
        let is_file = std::fs::metadata(&self.registry).is_ok_and(|metadata| metadata.is_file());
        let config = match (is_file, config) {
            (true, Some(_)) => {
                let message = "--config goes beside a folder; REGISTRY is a file, and is read as the config itself";
                return Err(Failure::usage(anyhow::anyhow!(message)));
            }
            (true, None) => Some(&*self.registry),
            (false, config) => config,
        };
        let config = match config {
            Some(path) => {
                let config = RegistryConfig::read(path).map_err(|error| match is_file && !is_named_like_one(path) {
                    true => {
                        Failure::usage(anyhow::anyhow!("a file as REGISTRY is read as the registry's config: {error}"))
                    }
                    false => Failure::usage(error),
                });
                Some((path.to_owned(), config?))
            }
            None => None,
        };
        let root = match &config {
            Some((_, config)) if is_file => &config.root_directory,
            _ => &self.registry,
        };
        let registry = Registry::open_with(root, seam).map_err(|error| {
            let near = matches!(error, OpenError::NoRegistry { .. }).then(|| usage::near(root)).flatten();
            match usage::meant(&self.registry).or(near) {
                Some(meant) => Failure::usage(anyhow::anyhow!(meant)),
                None => Failure::usage(error),
            }
        })?;
        Ok(Opened { registry, config, is_from_config: is_file })
    }
}

/// Whether a file has a name like those of configs.
fn is_named_like_one(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml")
}

impl Opened {
    /// What the registry's config says of a pull-through cache.
    pub(crate) fn cache_config(&self) -> CacheConfig<'_> {
        let Some((_, config)) = &self.config else { return CacheConfig::NotGiven };
        if config.proxy_remote_url.is_none() {
            return CacheConfig::NoCache;
        }
        let real = |path: &Path| path.canonicalize().ok();
        let named = real(&config.root_directory.join("docker/registry/v2"));
        if self.is_from_config || named.is_some() && named == real(self.registry.root()) {
            CacheConfig::Cache
        } else {
            CacheConfig::CacheElsewhere(&config.root_directory)
        }
    }

    /// Whether a cache has left its state in the storage root.
    pub(crate) fn has_cache_state(&self) -> bool {
        self.registry.storage_root_with(STATE).is_some()
    }

    /// Whether this is a pull-through cache: its own config says so, or its state does and no config denies it.
    pub(crate) fn is_cache(&self) -> bool {
        match self.cache_config() {
            CacheConfig::Cache => true,
            CacheConfig::NoCache => false,
            CacheConfig::NotGiven | CacheConfig::CacheElsewhere(_) => self.has_cache_state(),
        }
    }
}

impl Evidence {
    /// The path given with `--config`.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Collects the evidence. The registry is asked if there is an address; nothing is changed.
    pub(crate) fn gather(&self, opened: &Opened) -> Result<ReadOnly, Failure> {
        let url = match &self.registry {
            Some(text) => Some(text.parse::<RegistryUrl>().context("--registry").map_err(Failure::usage)?),
            None => None,
        };
        let credentials = Credentials::from_environment().context("REGSWEEP_REGISTRY_AUTH").map_err(Failure::usage)?;
        let sources = Sources {
            config: opened.config.as_ref().map(|(path, config)| (&**path, config)),
            registry_url: url.as_ref(),
            stopped: self.registry_stopped,
            credentials: credentials.as_ref(),
            pull_through_state: opened.registry.has_above(3, STATE),
            database_in_use: opened.registry.has_above(1, "lockfiles/database-in-use"),
        };
        // A cache that is asked for a tag asks its upstream and writes the tag's link anew: to ask would be to pull.
        let may_be_cache = sources.pull_through_state
            || matches!(opened.cache_config(), CacheConfig::Cache | CacheConfig::CacheElsewhere(_));
        let images = OnceCell::new();
        let ask = |url: &RegistryUrl, credentials: Option<&Credentials>| {
            let images = images.get_or_init(|| if may_be_cache { Vec::new() } else { on_disk(&opened.registry) });
            probe_for(images, url, credentials, PROBE_TIMEOUT)
        };
        Ok(gather(&sources, &ask))
    }

    /// The options as they were given, for a command that is suggested.
    pub(crate) fn as_given(&self) -> String {
        let mut given = String::new();
        if let Some(config) = &self.config {
            given.push_str(&format!(" --config {}", output::quoted(config)));
        }
        if let Some(url) = self.registry.as_deref().and_then(|text| text.parse::<RegistryUrl>().ok()) {
            given.push_str(&format!(" --registry {url}"));
        }
        if self.registry_stopped {
            given.push_str(" --registry-stopped");
        }
        given
    }
}

/// Makes the pool that everything runs on.
pub(crate) fn pool(threads: usize) -> Result<rayon::ThreadPool, Failure> {
    threads::pool(threads).with_context(|| format!("cannot start {threads} threads")).map_err(Failure::from)
}

/// How many requests are in flight at a time, unless the operator says it. Each has a thread, which waits.
///
/// A volume that answers at once, from memory, keeps the cores busy by itself; the few threads more than cores are
/// there for what is not in memory. One that takes its time is not busy at all: it answers 64 at once as soon as one.
/// The figures for both are in `docs/benchmarks.md`.
pub(crate) fn jobs(registry: &Registry) -> usize {
    // Memory answers in a tenth of it, the fastest disk in the double.
    const AT_ONCE: Duration = Duration::from_micros(40);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    jobs_for(cores, registry.is_slower_than(AT_ONCE))
}

fn jobs_for(cores: usize, is_slow: bool) -> usize {
    if is_slow { threads::MOST } else { (4 * cores).clamp(8, threads::MOST) }
}

/// An age, as somebody wrote it: `168h`, `7d`, `90m`, `1h30m`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    /// In seconds; a part of one is a whole one, so that what is to stay for so long does not go before.
    pub(crate) seconds: i64,
    /// Exactly, for what ends after so long.
    pub(crate) duration: Duration,
    /// As it was written.
    pub(crate) text: String,
}

impl std::str::FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Age, String> {
        let wrong = || format!("'{text}' is no duration: write 168h, 7d, 90m or 1h30m");
        let span: jiff::Span = text.parse().map_err(|_| wrong())?;
        let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
        if duration.is_negative() {
            return Err(wrong());
        }
        let is_more = duration.subsec_nanos() > 0;
        let seconds = duration.as_secs().saturating_add(i64::from(is_more));
        Ok(Age { seconds, duration: duration.unsigned_abs(), text: text.to_owned() })
    }
}

/// A share in percent, as somebody wrote it: `20`, `12.5%`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    /// In percent.
    pub(crate) percent: Percent,
    /// As it was written.
    pub(crate) text: String,
}

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let percent = number.parse().ok().filter(|_| is_plain).and_then(Percent::new);
        let percent = percent.ok_or_else(|| format!("'{text}' is no percentage from 0 to 100"))?;
        Ok(Share { percent, text: text.to_owned() })
    }
}

/// Parses a number of threads.
pub(crate) fn parse_jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs) if (1..=1024).contains(&jobs) => Ok(jobs),
        _ => Err(format!("'{text}' is no number of threads from 1 to 1024")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("168h", Some(604_800)),
            ("7d", Some(604_800)),
            ("90m", Some(5400)),
            ("1h30m", Some(5400)),
            ("0s", Some(0)),
            ("1ms", Some(1)),
            ("1500ms", Some(2)),
            ("", None),
            ("7", None),
            ("-1h", None),
            ("soon", None),
        ] {
            assert_eq!(text.parse::<Age>().ok().map(|age| age.seconds), seconds, "{text:?}");
        }
        let exact = ["999ms", "1.5s", "2m"].map(|text| text.parse::<Age>().unwrap().duration.as_millis());
        assert_eq!(exact, [999, 1500, 120_000]);
    }

    #[test]
    fn shares() {
        for (text, percent) in [
            ("20", Some(20.0)),
            ("12.5%", Some(12.5)),
            ("0", Some(0.0)),
            ("100 %", Some(100.0)),
            ("101", None),
            ("-1", None),
            ("1e1", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
            ("%", None),
            ("many", None),
        ] {
            assert_eq!(
                text.parse::<Share>().ok().map(|share| share.percent),
                percent.and_then(Percent::new),
                "{text:?}"
            );
        }
    }

    #[test]
    fn jobs_for_a_volume() {
        for (cores, is_slow, jobs) in
            [(1, false, 8), (2, false, 8), (8, false, 32), (64, false, 64), (2, true, 64), (64, true, 64)]
        {
            assert_eq!(jobs_for(cores, is_slow), jobs, "{cores} cores, slow: {is_slow}");
        }
    }

    #[test]
    fn jobs() {
        for (text, jobs) in [("1", Some(1)), ("64", Some(64)), ("0", None), ("-1", None), ("x", None), ("9999", None)] {
            assert_eq!(parse_jobs(text).ok(), jobs, "{text:?}");
        }
    }
}
