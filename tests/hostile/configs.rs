//! Configs that never end: too large, a bomb, a pipe that nobody writes into, a device.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::tree::write;
use crate::{assert_plain, measured, small};

/// A config that is no config: too large, a bomb, a pipe that nobody writes into, a device without an end.
#[test]
fn configs_that_never_end() {
    let tree = small();
    let root = tree.root();
    let good = format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n", root.display());
    let bomb = |levels: u32, width: usize| {
        let mut text = format!("{good}a0: &a0 [x]\n");
        for level in 1..=levels {
            let list = vec![format!("*a{}", level - 1); width].join(",");
            writeln!(text, "a{level}: &a{level} [{list}]").unwrap();
        }
        text
    };
    let merges = |levels: u32| {
        let mut text = format!("{good}m0: &m0 {{a: 1}}\n");
        for level in 1..=levels {
            let below = level - 1;
            writeln!(text, "m{level}: &m{level} {{<<: [*m{below}, *m{below}], k{level}: *m{below}}}").unwrap();
        }
        text
    };
    let config = tree.beside().join("config.yml");
    type Make<'a> = Box<dyn Fn(&Path) + 'a>;
    let text = |text: String| -> Make<'_> { Box::new(move |path: &Path| write(path, text.as_bytes())) };
    let tree = &tree;
    let cases: Vec<(&str, Make<'_>)> = vec![
        (
            "100 MB",
            Box::new(|path| {
                write(path, good.as_bytes());
                tree.grow(path, 100_000_000);
            }),
        ),
        ("1 MB of comment", text(format!("{good}#{}\n", "x".repeat(1 << 20)))),
        ("a bomb of aliases", text(bomb(40, 9))),
        ("a wide bomb", text(bomb(3, 10_000))),
        ("a bomb of merges", text(merges(60))),
        ("a value that contains itself", text(format!("{good}a: &a [*a]\n"))),
        ("deep lists", text(format!("{good}a: {}", "[".repeat(200_000)))),
        (
            "deep blocks",
            text(format!("{good}a:\n{}", (0..1300).map(|n| format!("{}- \n", " ".repeat(n))).collect::<String>())),
        ),
        ("many keys", text((0..40_000).fold(good.clone(), |text, n| text + &format!("k{n}: {n}\n")))),
        ("one long key", text(format!("{good}? {}\n", "k".repeat(900_000)))),
        ("a pipe that nobody writes into", Box::new(|path| tree.fifo(path))),
        ("/dev/zero", Box::new(|path| symlink("/dev/zero", path).unwrap())),
        ("/dev/null", Box::new(|path| symlink("/dev/null", path).unwrap())),
        ("a folder", Box::new(|path| fs::create_dir(path).unwrap())),
    ];
    let mut runs = 0;
    for (what, make) in &cases {
        make(&config);
        for arguments in [
            &[OsStr::new("gc"), OsStr::new("-d"), config.as_os_str()][..],
            &[OsStr::new("gc"), OsStr::new("-d"), OsStr::new("--config"), config.as_os_str(), root.as_os_str()],
        ] {
            // What is a plain file is read in the same way wherever it is named.
            if runs > 0 && arguments.len() > 3 && fs::metadata(&config).unwrap().is_file() {
                continue;
            }
            let (run, peak) = measured(arguments);
            println!("    {what}: exit {}, {} MB, {}", run.code, peak >> 20, run.stderr.trim_end());
            // A key that no registry knows is passed over, however long it is.
            let code = if *what == "one long key" { 0 } else { 2 };
            assert_eq!(run.code, code, "{what}: {}", run.said());
            assert!(run.code == 0 || run.stderr.lines().count() == 1, "{what}: {}", run.stderr);
            assert_plain(&run, what);
            runs += 1;
        }
        tree.remove(&config);
    }
    println!("hostile: {} configs that never end, {runs} runs", cases.len());
}
