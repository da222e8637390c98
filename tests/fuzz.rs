//! The fuzz targets of `fuzz/`, run on stable Rust: the same properties, fed with the seeds and with what chance makes
//! of them. libFuzzer finds more, for it sees which branches an input takes; this here is what every change is held to.
//!
//! Each target prints how many inputs it was fed and how many of them the parser accepted. The second figure is
//! asserted: inputs that are all refused in their first byte test nothing.
//!
//! The inputs are the same every time. `REGSWEEP_FUZZ_CASES=1000000 cargo test --test fuzz` feeds each target with so
//! many, of which the first are those of a usual run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[allow(unreachable_pub, reason = "a library for the fuzz targets, a module here")]
#[path = "../fuzz/properties.rs"]
mod properties;

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Inputs are cut off here. Longer ones find nothing that these do not, and slow everything down.
const MAX_INPUT: usize = 8 * 1024;

struct Target {
    name: &'static str,
    run: fn(&[u8]) -> bool,
    /// How many inputs: some four seconds' worth in a debug build.
    inputs: u32,
    /// At least one in so many of them has to be accepted.
    one_in: u32,
}

#[test]
fn digest() {
    hold(&Target { name: "digest", run: properties::digest, inputs: 16_000, one_in: 40 });
}

#[test]
fn link() {
    hold(&Target { name: "link", run: properties::link, inputs: 20_000, one_in: 40 });
}

#[test]
fn layout() {
    hold(&Target { name: "layout", run: properties::layout, inputs: 25_000, one_in: 20 });
}

#[test]
fn manifest() {
    hold(&Target { name: "manifest", run: properties::manifest, inputs: 20_000, one_in: 20 });
}

#[test]
fn config() {
    hold(&Target { name: "config", run: properties::config, inputs: 8_000, one_in: 20 });
}

#[test]
fn journal() {
    hold(&Target { name: "journal", run: properties::journal, inputs: 15_000, one_in: 4 });
}

#[test]
fn url() {
    hold(&Target { name: "url", run: properties::url, inputs: 25_000, one_in: 20 });
}

#[test]
fn policy() {
    hold(&Target { name: "policy", run: properties::policy, inputs: 6_000, one_in: 40 });
}

#[test]
fn protect() {
    hold(&Target { name: "protect", run: properties::protect, inputs: 20_000, one_in: 20 });
}

/// Printed past the test harness, which keeps what a passing test prints to itself.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

thread_local! {
    /// While a failing input is made smaller it fails hundreds of times; only the last of them is worth reading.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

fn quieten() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                usual(panic);
            }
        }));
    });
}

fn hold(target: &Target) {
    quieten();
    let seeds = seeds(target.name);
    assert!(seeds.len() >= 10, "fuzz/seeds/{} holds {} files only", target.name, seeds.len());
    for (path, bytes) in &seeds {
        let held = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
        assert!(held.is_ok(), "{}: see above", path.display());
    }
    let inputs = match std::env::var("REGSWEEP_FUZZ_CASES") {
        Ok(number) => number.parse().expect("REGSWEEP_FUZZ_CASES is a number of inputs"),
        Err(_) => target.inputs,
    };
    let accepted = Cell::new(0u32);
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|(_, bytes)| bytes).collect();
    let config = Config { cases: inputs, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    QUIET.set(true);
    let outcome = runner.run(&input(seeds, words(target.name)), |Input(bytes)| {
        accepted.set(accepted.get() + u32::from((target.run)(&bytes)));
        Ok(())
    });
    QUIET.set(false);
    if let Err(failure) = outcome {
        panic!("fuzz {}: {failure}", target.name);
    }
    let accepted = accepted.get();
    say(&format!("fuzz {}: {} inputs, {} of them parsed", target.name, grouped(inputs), grouped(accepted)));
    assert!(accepted >= inputs / target.one_in, "nearly everything is refused: the inputs are rubbish");
}

/// `12,345`.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// The seeds of a target, in the order of their names: what is made of them must not depend on the file system.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder("seeds").join(target)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// The words of a dictionary of libFuzzer: one a line, in quotes, with `\xNN` for what cannot be written.
fn words(target: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(folder("dictionaries").join(format!("{target}.dict"))).unwrap();
    let word = |line: &str| {
        let mut rest = line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).expect("a word in quotes");
        let mut word = Vec::new();
        while let Some((before, after)) = rest.split_once("\\x") {
            word.extend(before.bytes());
            word.push(u8::from_str_radix(&after[..2], 16).expect("two hex digits"));
            rest = &after[2..];
        }
        word.extend(rest.bytes());
        word
    };
    text.lines().map(word).collect()
}

/// Bytes that a person can read when they come up in a failure.
#[derive(Clone)]
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Mostly seeds that were changed in a few places, and now and then plain noise.
fn input(seeds: Vec<Vec<u8>>, words: Vec<Vec<u8>>) -> impl Strategy<Value = Input> {
    let changed =
        (any::<Index>(), prop_oneof![2 => vec(change(), 1..3), 1 => vec(change(), 3..8)], Just((seeds, words)))
            .prop_map(|(which, changes, (seeds, words))| {
                let mut bytes = which.get(&seeds).clone();
                for change in &changes {
                    change.apply(&mut bytes, &seeds, &words);
                }
                bytes.truncate(MAX_INPUT);
                Input(bytes)
            });
    prop_oneof![15 => changed, 1 => vec(any::<u8>(), 0..256).prop_map(Input)]
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Flip,
    Replace,
    Digit,
    Truncate,
    Remove,
    Duplicate,
    Splice,
    Word,
    Swap,
}

/// One change: what, where, and how much. Places are parts of the whole, so that they fit whatever came before.
#[derive(Clone, Copy, Debug)]
struct Change {
    kind: Kind,
    from: Index,
    length: Index,
    to: Index,
    byte: u8,
}

fn change() -> impl Strategy<Value = Change> {
    let kind = prop_oneof![
        2 => Just(Kind::Flip),
        2 => Just(Kind::Replace),
        4 => Just(Kind::Digit),
        1 => Just(Kind::Truncate),
        2 => Just(Kind::Remove),
        2 => Just(Kind::Duplicate),
        2 => Just(Kind::Splice),
        4 => Just(Kind::Word),
        2 => Just(Kind::Swap),
    ];
    (kind, any::<Index>(), any::<Index>(), any::<Index>(), any::<u8>())
        .prop_map(|(kind, from, length, to, byte)| Change { kind, from, length, to, byte })
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[Vec<u8>]) {
        let at = self.to.index(bytes.len() + 1);
        let insert = |bytes: &mut Vec<u8>, piece: Vec<u8>| drop(bytes.splice(at..at, piece));
        match self.kind {
            Kind::Flip if !bytes.is_empty() => {
                let at = self.from.index(bytes.len());
                bytes[at] ^= 1 << (self.byte % 8);
            }
            Kind::Replace if !bytes.is_empty() => {
                let at = self.from.index(bytes.len());
                bytes[at] = self.byte;
            }
            // Keeps a digest a digest, which the others seldom do.
            Kind::Digit if !bytes.is_empty() => {
                let at = self.from.index(bytes.len());
                let digit = bytes[at..].iter().position(u8::is_ascii_hexdigit).map_or(at, |skip| at + skip);
                bytes[digit] = b"0123456789abcdef"[usize::from(self.byte % 16)];
            }
            Kind::Flip | Kind::Replace | Kind::Digit => bytes.push(self.byte),
            Kind::Truncate => bytes.truncate(at),
            Kind::Remove => {
                let (from, to) = self.range(bytes);
                bytes.drain(from..to);
            }
            Kind::Duplicate => {
                let (from, to) = self.range(bytes);
                let piece = bytes[from..to].to_vec();
                insert(bytes, piece);
            }
            Kind::Splice => {
                let other = self.length.get(seeds);
                let (from, to) = self.range(other);
                insert(bytes, other[from..to].to_vec());
            }
            Kind::Word => insert(bytes, self.from.get(words).clone()),
            // Two pieces change places: lines of a journal, fields of a manifest.
            Kind::Swap => bytes.rotate_left(at),
        }
    }

    /// A piece of these bytes, short ones as often as long ones.
    fn range(&self, bytes: &[u8]) -> (usize, usize) {
        let from = self.from.index(bytes.len() + 1);
        let longest = (bytes.len() - from).min(1 << (self.byte % 12));
        (from, from + self.length.index(longest + 1))
    }
}

/// A config is bounded in what it may cost, not only in its length: aliases multiply, and so may the time. The times
/// are shown and not asserted, for a busy machine is not a bug; that it comes to an end at all is.
#[test]
fn configs_that_cost_the_most() {
    const SIZE: usize = 64 * 1024;
    let fill = |before: &str, piece: &str, after: &str| {
        let room = SIZE - before.len() - after.len();
        format!("{before}{}{after}", piece.repeat(room / piece.len()))
    };
    let numbered = |before: &str, piece: fn(usize) -> String| {
        let pieces = (0..).map(piece).scan(before.len(), |length, piece| {
            *length += piece.len();
            (*length <= SIZE).then_some(piece)
        });
        before.to_owned() + &pieces.collect::<String>()
    };
    let bomb: String =
        (1..9).map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","))).collect();
    let texts = [
        ("an alias bomb", fill(&format!("a0: &a0 [x]\n{bomb}"), "# c\n", "")),
        ("a long text under many names", fill(&format!("a: &a {}\nb: [", "x".repeat(SIZE / 2)), "*a,", "]\n")),
        ("anchors in anchors", fill(&format!("a: {}", "&a [".repeat(200)), "x,", &"]".repeat(200))),
        ("many keys", numbered("", |i| format!("k{i}: \n"))),
        ("many merges", numbered("a: &a {x: 1}\n", |i| format!("k{i}: {{<<: *a}}\n"))),
        ("one merge of many", numbered("a: &a\n", |i| format!(" k{i}:\n")) + "b:\n <<: *a\n"),
        ("many anchors", numbered("", |i| format!("- &a{i} x\n"))),
        ("brackets", fill("", "[", "")),
        ("braces", fill("", "{a: ", "")),
        ("dashes", fill("", "- ", "")),
        ("question marks", fill("", "? ", "")),
        ("colons", fill("", ": ", "")),
        ("tags", fill("", "!", "")),
        ("tag directives", numbered("", |i| format!("%TAG !t{i}! x\n")) + "---\n"),
        ("documents", fill("", "---\n", "")),
        ("a flow of pairs", fill("[", "a: b, ", "]")),
        ("an open quote", fill("a: \"", "x\n ", "")),
        ("escapes", fill("a: \"", "\\x41", "\"")),
        ("a plain text of many lines", fill("a: x\n", " x\n", "")),
        ("a block of empty lines", fill("a: |\n", "\n", "")),
        ("comments", fill("", "#\n", "")),
        ("tabs", fill("a:", "\t", "x")),
        ("spaces and lines", fill("a:", " \n", " x")),
    ];
    let mut times: Vec<_> = texts
        .iter()
        .map(|(name, text)| {
            let begun = Instant::now();
            let environment = [("REGISTRY_STORAGE_MAINTENANCE".to_owned(), text.clone())];
            let outcomes = [
                regsweep::config::RegistryConfig::parse(text.as_bytes(), &[]).is_ok(),
                regsweep::config::RegistryConfig::parse(b"version: 0.1\nstorage: filesystem\n", &environment).is_ok(),
            ];
            assert!(text.len() <= SIZE + 16 && !outcomes[0], "{name}");
            (begun.elapsed(), *name)
        })
        .collect();
    times.sort();
    times.reverse();
    let slowest: Vec<String> = times.iter().take(4).map(|(time, name)| format!("{name} {time:.0?}")).collect();
    say(&format!("fuzz config: {} texts of 64 KiB twice; the slowest: {}", times.len(), slowest.join(", ")));
}
