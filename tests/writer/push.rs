//! A push as registry 2.8 does it on the disk, one file-system step at a time, and what it decides in between.
//!
//! The client asks for every blob first (`HEAD`), and leaves out what the registry has. So what decides whether an
//! image is whole in the end are the answers that the registry gives on the way: they are given here as it gives them,
//! from what is on the disk at that moment (distribution 2.8, `registry/storage`: `blobwriter.go`,
//! `linkedblobstore.go`, `schema2manifesthandler.go`, `manifestlisthandler.go`, `tagstore.go`).

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::support::formats::halves;
use super::support::tree::{Blob, Manifest};

/// What is pushed, and where.
#[derive(Clone, Debug)]
pub(crate) struct Pushed {
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) manifest: Manifest,
    /// What an index lists. The client pushes first what the registry does not have of it.
    pub(crate) children: Vec<Manifest>,
    /// A repository that the client knows to have the layers: it asks for them to be mounted from there.
    pub(crate) mount_from: Option<String>,
}

/// One step. Those that only ask decide which ones come next.
#[derive(Clone, Debug)]
enum Step {
    /// The client asks whether this repository has the blob.
    Head(Blob),
    /// It asks for the blob to be mounted from another repository.
    Mount(Blob, String),
    /// It asks whether this repository has the manifest.
    HeadManifest(Manifest),
    /// The registry looks whether the blob that was uploaded is in the store already.
    Commit(Blob, PathBuf),
    /// The registry looks whether it has what the manifest being put refers to: a layer, or a manifest.
    VerifyBlob(String),
    VerifyManifest(String),
    /// The registry looks whether it has the manifest's own bytes already.
    PutManifest(Manifest),
    MakeFolders(PathBuf),
    /// A file is opened, and emptied if it is there.
    Open(PathBuf),
    /// Bytes are written into the file that was opened last.
    Write(Vec<u8>),
    Rename(PathBuf, PathBuf),
    RemoveFolder(PathBuf),
    /// Something that is remembered: when it was done decides what may come of it.
    Note(Moment),
}

/// What is to be known of a push afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Verified,
    RevisionWritten,
    TagWritten,
}

/// How a push ended, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// An error was answered: the client knows that the image is not there.
    Refused(String),
}

/// A push under way.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) v2: PathBuf,
    pushed: Arc<Pushed>,
    steps: VecDeque<Step>,
    open: Option<File>,
    uploads: usize,
    /// Files that are overwritten get the time back that they had: they are written in the same tick of the clock.
    same_tick: Option<SystemTime>,
    is_same_tick: bool,
    refused: Option<String>,
    /// How many steps were done.
    pub(crate) done: usize,
    /// The run's operation before which the manifest had been verified, its revision link and the tag's current link
    /// had been written.
    pub(crate) verified: Option<usize>,
    pub(crate) revision_written: Option<usize>,
    pub(crate) tag_written: Option<usize>,
}

impl Push {
    pub(crate) fn new(v2: PathBuf, pushed: Arc<Pushed>, is_same_tick: bool) -> Push {
        let mut steps = VecDeque::new();
        steps.extend(pushed.children.iter().cloned().map(Step::HeadManifest));
        steps.extend(pushed.manifest.blobs.iter().cloned().map(Step::Head));
        let mut push = Push {
            v2,
            steps,
            open: None,
            uploads: 0,
            same_tick: None,
            is_same_tick,
            refused: None,
            done: 0,
            verified: None,
            revision_written: None,
            tag_written: None,
            pushed: Arc::clone(&pushed),
        };
        let mut put = push.put(&pushed.manifest, true);
        let tag = push.repository(&pushed.repository).join("_manifests/tags").join(&pushed.tag);
        let (algorithm, hex) = halves(&pushed.manifest.digest);
        put.extend(write(tag.join("index").join(algorithm).join(hex).join("link"), pushed.manifest.digest.as_bytes()));
        put.extend(write(tag.join("current/link"), pushed.manifest.digest.as_bytes()));
        put.push(Step::Note(Moment::TagWritten));
        push.steps.extend(put);
        push
    }

    /// Does one step, unless the push is at its end. `now` is the number of the run's next operation.
    pub(crate) fn step(&mut self, now: usize) {
        while let Some(step) = self.steps.pop_front() {
            // Remembering takes no time.
            let Step::Note(moment) = step else {
                self.done += 1;
                if let Err(error) = self.take(step) {
                    self.refused = Some(error.to_string());
                    self.steps.clear();
                }
                break;
            };
            self.note(moment, now);
        }
        while let Some(&Step::Note(moment)) = self.steps.front() {
            self.steps.pop_front();
            self.note(moment, now);
        }
    }

    pub(crate) fn finish(&mut self, now: usize) -> Outcome {
        while !self.steps.is_empty() {
            self.step(now);
        }
        self.refused.clone().map_or(Outcome::Done, Outcome::Refused)
    }

    pub(crate) fn is_at_its_end(&self) -> bool {
        self.steps.is_empty()
    }

    fn note(&mut self, moment: Moment, now: usize) {
        let place = match moment {
            Moment::Verified => &mut self.verified,
            Moment::RevisionWritten => &mut self.revision_written,
            Moment::TagWritten => &mut self.tag_written,
        };
        *place = Some(now);
    }

    fn take(&mut self, step: Step) -> io::Result<()> {
        match step {
            Step::Head(blob) => {
                if !self.has_blob(&self.pushed.repository, &blob.digest) {
                    let next = match &self.pushed.mount_from {
                        Some(source) => vec![Step::Mount(blob, source.clone())],
                        None => self.upload(&blob),
                    };
                    self.next(next);
                }
            }
            Step::Mount(blob, source) => {
                let next =
                    if self.has_blob(&source, &blob.digest) { self.link(&blob.digest) } else { self.upload(&blob) };
                self.next(next);
            }
            Step::HeadManifest(manifest) => {
                if !self.has_manifest(&manifest.digest) {
                    let mut next: Vec<Step> = manifest.blobs.iter().cloned().map(Step::Head).collect();
                    next.extend(self.put(&manifest, false));
                    self.next(next);
                }
            }
            Step::Commit(blob, upload) => {
                let mut next = Vec::new();
                let data = self.data(&blob.digest);
                if !data.exists() {
                    next.push(Step::MakeFolders(data.parent().unwrap().to_owned()));
                    next.push(Step::Rename(upload.join("data"), data));
                }
                next.extend(self.link(&blob.digest));
                next.push(Step::RemoveFolder(upload));
                self.next(next);
            }
            Step::VerifyBlob(digest) if !self.has_blob(&self.pushed.repository, &digest) => {
                return Err(io::Error::other(format!("400: {digest} is unknown")));
            }
            Step::VerifyManifest(digest) if !self.has_manifest(&digest) => {
                return Err(io::Error::other(format!("400: {digest} is unknown")));
            }
            Step::VerifyBlob(_) | Step::VerifyManifest(_) => {}
            Step::PutManifest(manifest) => {
                let data = self.data(&manifest.digest);
                if !data.exists() {
                    self.next(write(data, &manifest.bytes));
                }
            }
            Step::MakeFolders(path) => fs::create_dir_all(path)?,
            Step::Open(path) => {
                let before = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
                self.same_tick = before.filter(|_| self.is_same_tick);
                let file = File::options().write(true).create(true).truncate(true).open(path)?;
                self.open = Some(self.dated(file)?);
            }
            Step::Write(bytes) => {
                let mut file = self.open.take().unwrap();
                file.write_all(&bytes)?;
                self.dated(file)?;
            }
            Step::Rename(from, to) => fs::rename(from, to)?,
            Step::RemoveFolder(path) => fs::remove_dir_all(path)?,
            Step::Note(_) => unreachable!("that is no step"),
        }
        Ok(())
    }

    fn dated(&self, file: File) -> io::Result<File> {
        if let Some(time) = self.same_tick {
            file.set_modified(time)?;
        }
        Ok(file)
    }

    fn next(&mut self, steps: Vec<Step>) {
        for step in steps.into_iter().rev() {
            self.steps.push_front(step);
        }
    }

    /// An upload is made, filled, and becomes a blob.
    fn upload(&mut self, blob: &Blob) -> Vec<Step> {
        self.uploads += 1;
        let uploads = self.repository(&self.pushed.repository).join("_uploads");
        let upload = uploads.join(format!("00000000-0000-4000-8000-{:012}", self.uploads));
        let mut steps = write(upload.join("startedat"), super::support::tree::now().as_bytes());
        steps.extend(write(upload.join("hashstates/sha256/0"), b"state"));
        steps.extend(write(upload.join("data"), &blob.bytes));
        steps.push(Step::Commit(blob.clone(), upload));
        steps
    }

    fn link(&self, digest: &str) -> Vec<Step> {
        write(self.layer(&self.pushed.repository, digest), digest.as_bytes())
    }

    /// `PUT` of a manifest, but for its tag.
    fn put(&self, manifest: &Manifest, is_the_last: bool) -> Vec<Step> {
        let mut steps: Vec<Step> = manifest.blobs.iter().map(|blob| Step::VerifyBlob(blob.digest.clone())).collect();
        if is_the_last {
            steps.extend(self.pushed.children.iter().map(|child| Step::VerifyManifest(child.digest.clone())));
            steps.push(Step::Note(Moment::Verified));
        }
        steps.push(Step::PutManifest(manifest.clone()));
        steps.extend(write(self.revision(&manifest.digest), manifest.digest.as_bytes()));
        if is_the_last {
            steps.push(Step::Note(Moment::RevisionWritten));
        }
        steps
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.v2.join("repositories").join(name)
    }

    fn data(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = halves(digest);
        self.v2.join("blobs").join(algorithm).join(&hex[..2]).join(hex).join("data")
    }

    fn layer(&self, repository: &str, digest: &str) -> PathBuf {
        let (algorithm, hex) = halves(digest);
        self.repository(repository).join("_layers").join(algorithm).join(hex).join("link")
    }

    fn revision(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = halves(digest);
        self.repository(&self.pushed.repository).join("_manifests/revisions").join(algorithm).join(hex).join("link")
    }

    fn has_blob(&self, repository: &str, digest: &str) -> bool {
        names(&self.layer(repository, digest), digest) && self.data(digest).exists()
    }

    fn has_manifest(&self, digest: &str) -> bool {
        names(&self.revision(digest), digest) && self.data(digest).exists()
    }
}

/// Whether a link is there and names this digest.
fn names(link: &Path, digest: &str) -> bool {
    fs::read(link).is_ok_and(|bytes| bytes == digest.as_bytes())
}

/// 2.8 makes the folders, empties the file in its place, and writes it.
fn write(path: PathBuf, bytes: &[u8]) -> Vec<Step> {
    vec![Step::MakeFolders(path.parent().unwrap().to_owned()), Step::Open(path), Step::Write(bytes.to_vec())]
}
