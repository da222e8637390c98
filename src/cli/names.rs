//! Which names stay and which go: options of `gc` that become its policy.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, anyhow};
use regsweep::layout::shown_path;
use regsweep::policy::file::{self, FLOOR, parse_history};
use regsweep::policy::retention::{Count, Effect, History, Keep, Rule};
use regsweep::policy::{Policy, Protected, RepositoryPattern, Request, Retention, TagPattern, parse_duration};

use super::{Failure, output};

/// Nobody writes a longer policy.
const MAX_POLICY_BYTES: u64 = 1 << 20;
/// What runs in the largest clusters is a few megabytes of references.
const MAX_PROTECT_BYTES: u64 = 64 << 20;

/// Which tags stay.
///
/// Flags are one rule: what it does not keep goes. A file holds several.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Retention")]
pub(crate) struct Names {
    /// Keep the last N tags of each repository
    ///
    /// By push time; the others go. What a tag led to goes with it in the same run, unless another tag leads there too.
    /// Several of these options keep what any of them keeps, and the newest tag of a repository always stays. A tag
    /// that --keep-tag keeps counts among the N as well; one of --except-tag does not. Tags that were pushed in the
    /// same second are not told apart, so more than N may stay.
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    keep_last: Option<u64>,

    /// Keep tags pushed within D of the newest
    ///
    /// Those that were pushed no longer than this before the newest tag of their repository, such as 30d, 6mo, 1y.
    #[arg(long, value_name = "D", value_parser = WrittenAs::<i64>::duration, allow_hyphen_values = true)]
    keep_within: Option<WrittenAs<i64>>,

    /// Keep tags whose whole name matches
    ///
    /// A regular expression, not a glob (release-.*, not release-*); may be given several times. Such a tag still
    /// counts: where it is one of the last N, it takes a place of --keep-last. To keep N others, use --except-tag
    /// instead.
    #[arg(long, value_name = "REGEX")]
    keep_tag: Vec<TagRegex>,

    /// Leave alone tags whose whole name matches
    ///
    /// A regular expression; may be given several times. The other options are not about these tags: they stay, and do
    /// not count. --keep-last 3 --except-tag 'release-.*' keeps every release, and the last three of the others.
    #[arg(long, value_name = "REGEX")]
    except_tag: Vec<TagRegex>,

    /// Keep N former digests of a tag, or within D
    ///
    /// Of the digests that a tag pointed at before, keep the last N, or those that it still pointed at within D; the
    /// others go.
    #[arg(long, value_name = "N|D", value_parser = WrittenAs::<History>::history, allow_hyphen_values = true)]
    keep_tag_history: Option<WrittenAs<History>>,

    /// Let the above decide in these repositories
    ///
    /// And in no others: a glob, may be given several times. * stays within a component of the name, ** goes over
    /// several: team/* is not team/app/cache, team/** is.
    #[arg(id = "repository_glob", long = "repository", value_name = "GLOB")]
    repository: Vec<RepositoryGlob>,

    /// Let the rules in this file decide (YAML)
    ///
    /// Which tags stay: see docs/retention.md.
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["keep_last", "keep_within", "keep_tag", "except_tag", "keep_tag_history",
                                "repository_glob"])]
    policy: Option<PathBuf>,

    /// Keep what this file names; - reads stdin
    ///
    /// Digests and image references (host/name:tag, name@sha256:...), one a line.
    /// So that what runs is never collected:
    ///   kubectl get pods -A -o jsonpath='{..image} {..imageID}' |
    ///     regsweep gc --protect - ...
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    protect: Option<PathBuf>,

    /// Let signatures go whose image is long gone
    ///
    /// And other tags that belong to an image (SBOM, attestation) that was gone before. Such a tag goes with its image
    /// in the same run anyway. Where the image was gone before, its signature may be all that is left, or lie in a
    /// repository of its own; so it stays unless this is given, and its image is nowhere in the registry.
    #[arg(long)]
    prune_referrers: bool,

    /// Let tags go whose revision is gone
    ///
    /// As `rm -rf` of a revision's folder leaves them: nobody can pull them.
    #[arg(long)]
    drop_dangling_tags: bool,
}

/// How many tags stay.
fn parse_count(text: &str) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(count) if is_number => Ok(count),
        _ if is_number => Err("so many tags cannot be counted; write a number such as 10".to_owned()),
        _ => Err("write how many tags are to stay, a number such as 10".to_owned()),
    }
}

/// A value, and how it was written.
#[derive(Clone, Debug)]
struct WrittenAs<T> {
    value: T,
    text: String,
}

impl WrittenAs<i64> {
    fn duration(text: &str) -> Result<Self, String> {
        Ok(Self { value: parse_duration(text)?, text: text.to_owned() })
    }
}

impl WrittenAs<History> {
    fn history(text: &str) -> Result<Self, String> {
        Ok(Self { value: parse_history(text)?, text: text.to_owned() })
    }
}

#[derive(Clone, Debug)]
struct TagRegex(TagPattern);

impl FromStr for TagRegex {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        TagPattern::parse(text).map(TagRegex)
    }
}

#[derive(Clone, Debug)]
struct RepositoryGlob(RepositoryPattern);

impl FromStr for RepositoryGlob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        RepositoryPattern::parse(text).map(RepositoryGlob)
    }
}

impl Names {
    /// Reads what the options name, and makes a policy of it.
    pub(crate) fn policy(&self, delete_untagged: bool) -> Result<Policy, Failure> {
        let retention = match &self.policy {
            Some(path) => Some(read_policy(path).map_err(Failure::usage)?),
            None => self.rule()?.map(|rule| Retention { rules: vec![rule], floor: FLOOR }),
        };
        let protected = match &self.protect {
            Some(path) => read_protect(path).map_err(Failure::usage)?,
            None => Protected::default(),
        };
        Ok(Policy {
            delete_untagged,
            drop_dangling_tags: self.drop_dangling_tags,
            prune_referrers: self.prune_referrers,
            retention,
            protected,
            request: Request::default(),
            cache: None,
        })
    }

    /// The file that the rules come from, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.policy.as_deref()
    }

    /// The rule that the flags make.
    fn rule(&self) -> Result<Option<Rule>, Failure> {
        let keep = Keep {
            last: self.keep_last.map(Count::Of),
            within: self.keep_within.as_ref().map(|within| within.value),
            tags: self.keep_tag.iter().map(|pattern| pattern.0.clone()).collect(),
            history: self.keep_tag_history.as_ref().map(|history| history.value),
            ..Keep::default()
        };
        if !keep.selects_tags() && keep.history.is_none() {
            let what = match (self.repository.is_empty(), self.except_tag.is_empty()) {
                (true, true) => return Ok(None),
                (false, _) => "--repository says where a rule decides",
                (true, false) => "--except-tag says what a rule leaves alone",
            };
            return Err(Failure::usage(anyhow!("{what}, and there is none: add --keep-last N or another")));
        }
        let mut rule = Rule::new("flags", Effect::Keep(keep));
        rule.except_tags = self.except_tag.iter().map(|pattern| pattern.0.clone()).collect();
        rule.repositories = self.repository.iter().map(|pattern| pattern.0.clone()).collect();
        Ok(Some(rule))
    }

    /// The options as they were given, for a command that is suggested.
    pub(crate) fn as_given(&self) -> String {
        let mut given = String::new();
        let mut add = |flag: &str, value: &str| {
            given.push_str(&format!(" {flag} {}", output::quoted(Path::new(value))));
        };
        if let Some(count) = self.keep_last {
            add("--keep-last", &count.to_string());
        }
        if let Some(within) = &self.keep_within {
            add("--keep-within", &within.text);
        }
        for pattern in &self.keep_tag {
            add("--keep-tag", pattern.0.as_str());
        }
        for pattern in &self.except_tag {
            add("--except-tag", pattern.0.as_str());
        }
        if let Some(history) = &self.keep_tag_history {
            add("--keep-tag-history", &history.text);
        }
        for pattern in &self.repository {
            add("--repository", pattern.0.as_str());
        }
        for (flag, path) in [("--policy", &self.policy), ("--protect", &self.protect)] {
            if let Some(path) = path {
                given.push_str(&format!(" {flag} {}", output::quoted(path)));
            }
        }
        for (is_given, flag) in
            [(self.prune_referrers, " --prune-referrers"), (self.drop_dangling_tags, " --drop-dangling-tags")]
        {
            if is_given {
                given.push_str(flag);
            }
        }
        given
    }
}

fn read_policy(path: &Path) -> anyhow::Result<Retention> {
    let text = read(path, MAX_POLICY_BYTES).with_context(|| format!("--policy {}", shown_path(path)))?;
    file::parse(&text).with_context(|| format!("--policy {}", shown_path(path)))
}

fn read_protect(path: &Path) -> anyhow::Result<Protected> {
    let text = read(path, MAX_PROTECT_BYTES).with_context(|| format!("--protect {}", shown_path(path)))?;
    Protected::parse(&text).with_context(|| format!("--protect {}", shown_path(path)))
}

/// A file that the operator named, or standard input, whole.
fn read(path: &Path, most: u64) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > most {
        return Err(anyhow!("larger than {most} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        anyhow!("line {} is not UTF-8", line + 1)
    })
}
