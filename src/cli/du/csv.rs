//! A table as CSV (RFC 4180, lines end with a line feed). What the columns mean is in `docs/usage.md`.

use std::io::{self, Write};

use jiff::Timestamp;
use regsweep::plan::BlobTotals;

use super::rows::{Kind, Row, Rows};

const HEAD: &str = "kind,name,tag,blobs,total_bytes,total_disk_bytes,exclusive_bytes,exclusive_disk_bytes,shared_bytes,\
                    untagged_bytes,garbage_bytes,pushed_at";

/// Writes it.
///
/// # Errors
/// Whatever the writer says.
pub(super) fn write(out: &mut dyn Write, rows: &Rows<'_>) -> io::Result<()> {
    writeln!(out, "{HEAD}")?;
    rows.rows().iter().try_for_each(|each| row(out, each))?;
    if rows.named.is_some() {
        return Ok(());
    }
    // With these the exclusive bytes of rows at one level are those of all blobs.
    let usage = rows.usage;
    for (kind, bytes) in [
        ("shared", rows.common()),
        ("garbage", usage.all_garbage()),
        ("other", usage.other),
        ("unknown", usage.unknown),
    ] {
        let BlobTotals { count, bytes, disk_bytes } = bytes;
        writeln!(out, "{kind},,,{count},{bytes},{disk_bytes},{bytes},{disk_bytes},,,,")?;
    }
    Ok(())
}

fn row(out: &mut dyn Write, row: &Row<'_>) -> io::Result<()> {
    let kind = match row.kind {
        Kind::Namespace => "namespace",
        Kind::Repository => "repository",
        Kind::Tag => "tag",
        Kind::Untagged => "untagged",
        Kind::Common => "common",
        Kind::Kept => "kept",
        Kind::More(_) => "more",
    };
    let pushed = row.pushed.and_then(|at| Timestamp::from_second(at).ok()).map_or(String::new(), |at| at.to_string());
    let total = row.total.map_or([const { String::new() }; 3], |total| {
        [total.count.to_string(), total.bytes.to_string(), total.disk_bytes.to_string()]
    });
    let [blobs, bytes, disk_bytes] = total;
    let BlobTotals { bytes: exclusive, disk_bytes: exclusive_on_disk, .. } = row.exclusive;
    let shared = row.shared().map_or(String::new(), |shared| shared.bytes.to_string());
    let (untagged, garbage) = (row.untagged.bytes, row.garbage.bytes);
    let (name, tag) = (field(row.name), field(row.tag.unwrap_or_default()));
    writeln!(
        out,
        "{kind},{name},{tag},{blobs},{bytes},{disk_bytes},{exclusive},{exclusive_on_disk},{shared},{untagged},\
         {garbage},{pushed}"
    )?;
    row.below.iter().try_for_each(|below| self::row(out, below))
}

/// A text that no program takes for anything else: quoted where CSV wants it, and with a quote in front where a
/// spreadsheet would take it for a formula.
pub(super) fn field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) || is_formula {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        for (text, expected) in [
            ("team/web", "team/web"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "\"a\nb\""),
            ("=1+1", "\"'=1+1\""),
            ("@sum", "\"'@sum\""),
            ("-1", "\"'-1\""),
            ("+1", "\"'+1\""),
            ("a=b", "a=b"),
        ] {
            assert_eq!(field(text), expected, "{text:?}");
        }
    }
}
