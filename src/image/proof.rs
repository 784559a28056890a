//! What the image has to be: the digest, and what stands for it.

use std::path::Path;

use crate::host::download::{Client, Trouble, Watch};
use crate::plan::image::{digest_in_release, digest_of, signed, Digest, Proof, Url};
use crate::plan::Refusal;

use super::{Source, Wanted};

/// The list of digests beside the image, and its signature.
const LIST: &str = "SHA256SUMS";
const SIGNATURE: &str = "SHA256SUMS.minisig";
/// More than any list of digests has.
const LONGEST: u64 = 256 << 10;
/// More than any description of a release has: it has a kilobyte for each file.
const LONGEST_RELEASE: u64 = 4 << 20;

/// The key that this program was built with, if it was built with one.
const BUILT_IN_KEY: Option<&str> = option_env!("TAOS_IMAGE_KEY");

/// Why there is nothing to check against.
pub(super) enum NoProof {
    Refused(Refusal),
    Trouble(Trouble),
}

impl From<Trouble> for NoProof {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// The digest that the image has to have, and what vouches for it.
pub(super) fn expected(
    client: &Client,
    wanted: &Wanted,
    watch: &mut dyn Watch,
) -> Result<(Option<Digest>, Proof), NoProof> {
    if let Some(pinned) = &wanted.sha256 {
        return Ok((Some(pinned.clone()), Proof::Pinned));
    }
    let mut beside = Beside {
        client,
        source: &wanted.source,
        watch,
    };
    let name = wanted.source.name();
    let list = beside.read(LIST)?;
    let key = wanted.key.as_deref().or(BUILT_IN_KEY);
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        let from = beside.place(LIST);
        let refused = |what: String| NoProof::Refused(unsigned(what));
        let list = list.ok_or_else(|| refused(format!("there is no list of digests {from}")))?;
        let signature = beside
            .read(SIGNATURE)?
            .ok_or_else(|| refused(format!("the list {from} is not signed")))?;
        signed(list.as_bytes(), &signature, key)
            .map_err(|why| refused(format!("checking the signature of {from}: {why}")))?;
        let digest = digest_of(&list, &name)
            .map_err(|why| refused(format!("reading {from}: {why}")))?
            .ok_or_else(|| refused(format!("the list {from} has no digest of {name}")))?;
        return Ok((Some(digest), Proof::Signed { from }));
    }
    let own = format!("{name}.sha256");
    for file in [LIST, &own] {
        let text = if file == LIST {
            list.clone()
        } else {
            beside.read(file)?
        };
        let from = beside.place(file);
        let found = digest_of(text.as_deref().unwrap_or_default(), &name)
            .map_err(|why| NoProof::Refused(unsigned(format!("reading {from}: {why}"))))?;
        if let Some(digest) = found {
            return Ok((Some(digest), Proof::Published { from }));
        }
    }
    match of_release(client, &wanted.source, &name, beside.watch) {
        Ok(Some(found)) => return Ok(found),
        // Whoever takes what comes needs no answer.
        Err(NoProof::Trouble(Trouble::Stopped)) => return Err(Trouble::Stopped.into()),
        Ok(None) | Err(_) if wanted.insecure => return Ok((None, Proof::Nothing)),
        Ok(None) => {}
        Err(error) => return Err(error),
    }
    Err(NoProof::Refused(Refusal::new(
        format!(
            "there is nothing to check {} against: neither {LIST} nor {own} beside it has its \
             digest, and neither does the release that it belongs to",
            wanted.source.shown()
        ),
        [
            "give the digest, if you know it from elsewhere: --image-sha256 DIGEST",
            "to take what comes, from whomever: --insecure-no-digest",
        ],
    )))
}

/// The digest that a forge publishes for each file of a release, if the image is such a file.
fn of_release(
    client: &Client,
    source: &Source,
    name: &str,
    watch: &mut dyn Watch,
) -> Result<Option<(Option<Digest>, Proof)>, NoProof> {
    let Source::Url(url) = source else {
        return Ok(None);
    };
    let Some(release) = url.release() else {
        return Ok(None);
    };
    let Some(text) = client.small(&release, LONGEST_RELEASE, watch)? else {
        return Ok(None);
    };
    let from = release.plain();
    let digest = digest_in_release(&text, name)
        .map_err(|why| NoProof::Refused(unsigned(format!("reading {from}: {why}"))))?;
    Ok(digest.map(|digest| (Some(digest), Proof::Published { from })))
}

fn unsigned(what: String) -> Refusal {
    Refusal::new(
        what,
        [
            "nothing was taken; look whether --image-url and --image-key belong together",
            "or give the digest, if you know it from elsewhere: --image-sha256 DIGEST",
        ],
    )
}

/// Files beside the image.
struct Beside<'a> {
    client: &'a Client,
    source: &'a Source,
    watch: &'a mut dyn Watch,
}

impl Beside<'_> {
    fn read(&mut self, name: &str) -> Result<Option<String>, Trouble> {
        match self.source {
            Source::Url(url) => self.client.small(&url.beside(name), LONGEST, self.watch),
            Source::File(file) => {
                use std::io::Read as _;
                let mut text = String::new();
                match std::fs::File::open(file.with_file_name(name)) {
                    Ok(file) => file
                        .take(LONGEST)
                        .read_to_string(&mut text)
                        .map(|_| Some(text))
                        .map_err(|error| {
                            Trouble::Other(
                                anyhow::Error::from(error).context(format!("reading {name}")),
                            )
                        }),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(Trouble::Other(
                        anyhow::Error::from(error).context(format!("opening {name}")),
                    )),
                }
            }
        }
    }

    fn place(&self, name: &str) -> String {
        match self.source {
            Source::Url(url) => Url::plain(&url.beside(name)),
            Source::File(file) => Path::display(&file.with_file_name(name)).to_string(),
        }
    }
}
