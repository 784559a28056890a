//! A file that Incus gets while it comes, and may do nothing with before it is proven.

use std::path::PathBuf;

use crate::host::{download, Machine};
use crate::incus::upload::{Held, Upload};
use crate::plan::image::Digest;

/// Hands the file over in step with the download.  Where that does not work, the file is imported
/// afterwards, as one that was here already is.
pub(super) struct HandOver<'a> {
    machine: &'a Machine,
    path: PathBuf,
    /// What the file has to be, as far as that is known.
    digest: Option<Digest>,
    /// Not any more after it did not work once, and not at all where Incus needs no copy.
    wanted: bool,
    upload: Option<Upload>,
}

/// Where the first copy goes.
pub(super) const PROJECT: &str = "default";

impl<'a> HandOver<'a> {
    pub(super) fn new(machine: &'a Machine, digest: Option<Digest>, wanted: bool) -> Self {
        Self {
            machine,
            path: machine.paths.image_folder.join(download::PARTIAL),
            digest,
            wanted,
            upload: None,
        }
    }

    /// So much of the file is here, and is no web page or the like.
    pub(super) fn here(&mut self, bytes: u64) {
        if bytes == 0 || !self.wanted {
            return;
        }
        if self.upload.is_none() {
            match Upload::begin(self.machine, &self.path, PROJECT, self.digest.as_ref()) {
                Ok(upload) => {
                    self.log("begun, without its end: POST /1.0/images");
                    self.upload = Some(upload);
                }
                Err(error) => self.give_up(&error.to_string()),
            }
        }
        if let Some(upload) = &self.upload {
            upload.here(bytes);
        }
    }

    /// How much of it Incus has.
    pub(super) fn sent(&self) -> u64 {
        self.upload.as_ref().map_or(0, Upload::sent)
    }

    /// What came so far is of no use.
    pub(super) fn start_over(&mut self) {
        self.upload = None;
    }

    /// The file is to be another one than was said when it was begun.
    pub(super) fn expect(&mut self, digest: Option<&Digest>) {
        if self.digest.as_ref() != digest {
            self.digest = digest.cloned();
            self.start_over();
            self.wanted = false;
        }
    }

    /// All of it is here: waits until Incus has it, but for its end.
    pub(super) fn hold(&mut self, bytes: u64) -> Option<Held> {
        let upload = self.upload.take()?;
        match upload.hold(bytes, || self.machine.signals.stop_asked()) {
            Ok(held) => Some(held),
            Err(why) => {
                self.give_up(&why);
                None
            }
        }
    }

    fn give_up(&mut self, why: &str) {
        self.wanted = false;
        self.upload = None;
        self.log(&format!("given up: {why}; it is imported afterwards"));
    }

    fn log(&self, what: &str) {
        let line = format!("handing the base image to Incus while it comes: {what}");
        self.machine.log.line(&line);
    }
}
