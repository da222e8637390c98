//! Where reading goes on in the next run. Remembered outside of the registry, for a check changes nothing there.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use regsweep::digest::{Algorithm, Digest};
use regsweep::layout::{shown, shown_path};
use serde::{Deserialize, Serialize};

use super::{Failure, files, output};

/// The schema of the file.
const SCHEMA: &str = "regsweep.position/1";
/// A file that is larger is none of ours.
const MOST_BYTES: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Remembered {
    schema: String,
    /// The registry's folder, for whoever looks into the file.
    root: String,
    /// The first blob that the last run did not read; `None` at the end of a round.
    next: Option<Digest>,
    /// When that was, RFC 3339.
    at: String,
}

/// The file that the position is in.
#[derive(Debug)]
pub(crate) struct Position {
    path: PathBuf,
    /// Whether nobody named it, so that its folder may have to be made.
    is_ours: bool,
}

impl Position {
    /// The file that was named, or one of the user's own for this registry: in the folder that systemd gives a service,
    /// or the usual one for state (XDG base directories).
    pub(crate) fn of(named: Option<&Path>, root: &Path) -> Result<Position, Failure> {
        if let Some(path) = named {
            return Ok(Position { path: path.to_owned(), is_ours: false });
        }
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = folder("STATE_DIRECTORY")
            .or_else(|| folder("XDG_STATE_HOME").map(|state| state.join("regsweep")))
            .or_else(|| folder("HOME").map(|home| home.join(".local/state/regsweep")));
        let Some(folder) = folder else {
            let message = "nothing says where to remember how far it came (no HOME): give a file with --position";
            return Err(Failure::usage(anyhow!(message)));
        };
        let name = Digest::of(Algorithm::Sha256, root.as_os_str().as_encoded_bytes()).hex();
        Ok(Position { path: folder.join(format!("check-{}.json", &name[..16])), is_ours: true })
    }

    /// Where the last run left off; `None` if there was none, or it came to the end.
    pub(crate) fn read(&self, root: &Path) -> Result<Option<Digest>, Failure> {
        let wrong = |why: String| {
            let path = shown_path(&self.path);
            Failure::usage(anyhow!("{path} does not say where to go on ({why}): remove it, and reading begins anew"))
        };
        let size = match std::fs::metadata(&self.path) {
            Ok(metadata) if !metadata.is_file() => return Err(wrong("no regular file".to_owned())),
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(error.to_string())),
        };
        if size > MOST_BYTES {
            return Err(wrong(format!("{size} bytes")));
        }
        let bytes = std::fs::read(&self.path).map_err(|error| wrong(error.to_string()))?;
        let read: Remembered = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if read.schema != SCHEMA {
            return Err(wrong(format!("it is no {SCHEMA}")));
        }
        if read.root != shown_path(root) {
            let root = shown(read.root.as_bytes());
            return Err(wrong(format!("it is of another registry, {root}: each needs a file of its own")));
        }
        Ok(read.next)
    }

    /// Remembers where the next run begins. If that does not work the next run reads the same again, and is told so.
    pub(crate) fn write(&self, root: &Path, next: Option<&Digest>) {
        let remembered = Remembered {
            schema: SCHEMA.to_owned(),
            root: shown_path(root),
            next: next.cloned(),
            at: jiff::Timestamp::now().to_string(),
        };
        let write = || -> anyhow::Result<()> {
            if self.is_ours {
                files::make_folder_of(&self.path)?;
            }
            Ok(files::replace(&self.path, |out| Ok(serde_json::to_writer(out, &remembered)?))?)
        };
        if let Err(error) = write().with_context(|| format!("cannot write {}", shown_path(&self.path))) {
            output::error(&format!("{error:#}; the next run does not go on here, but where this one began"));
        }
    }
}
