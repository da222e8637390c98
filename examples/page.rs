//! Writes a page of made-up figures, to look at while working on its style.
//!
//! ```sh
//! cargo run --release --example page -- small > page.html
//! ```
//!
//! The pages are those that `tests/page/` opens in a browser: `small`, `big` (5,000 repositories, 100,000 tags),
//! `hostile`, `empty` and `one-blob`. How long writing took, and how large the page is, goes to stderr.

#[path = "../tests/page/samples.rs"]
mod samples;

use std::io::{Write, stdout};
use std::time::Instant;

use anyhow::{Result, bail};
use regsweep::report::html;

fn main() -> Result<()> {
    let (findings, hostile_findings) = (samples::findings(), samples::hostile_findings());
    let page = match std::env::args().nth(1).as_deref() {
        Some("small") => samples::small(&findings),
        Some("big") => samples::big(&findings),
        Some("hostile") => samples::hostile(&hostile_findings),
        Some("empty") => samples::empty(),
        Some("one-blob") => samples::one_blob(),
        _ => bail!("which page? small, big, hostile, empty or one-blob"),
    };
    let mut bytes = Vec::new();
    let began = Instant::now();
    html::write(&mut bytes, &page)?;
    eprintln!("{} bytes in {:.3} s", bytes.len(), began.elapsed().as_secs_f64());
    stdout().write_all(&bytes)?;
    Ok(())
}
