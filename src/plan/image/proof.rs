//! What proves that a file is the one that was meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A SHA-256 digest: 64 hexadecimal digits.  It is also the fingerprint that Incus gives to the
/// image in the file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadDigest;

impl fmt::Display for BadDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a SHA-256 digest has 64 hexadecimal digits, as sha256sum prints it")
    }
}

impl std::error::Error for BadDigest {}

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let text = text.strip_prefix("sha256:").unwrap_or(text);
        let fits = text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
        fits.then(|| Self(text.to_ascii_lowercase()))
            .ok_or(BadDigest)
    }
}

impl Digest {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough of it to tell images apart, as Incus shows it.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;

    fn try_from(text: String) -> Result<Self, BadDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// What an image was checked against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Proof {
    /// The digest that was given with `--image-sha256`.
    Pinned,
    /// A digest with a signature of the key that was given or compiled in.
    Signed { from: String },
    /// A digest that is published beside the file: whoever can change one can change both.
    Published { from: String },
    /// Nothing at all, as `--insecure-no-digest` allows.
    Nothing,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => f.write_str("checked against the digest given with --image-sha256"),
            Self::Signed { from } => {
                write!(f, "checked against the digest in {from}, whose signature is right")
            }
            Self::Published { from } => write!(
                f,
                "checked against the digest published in {from}, which is not signed: it shows that \
                 the file is whole, not who made it"
            ),
            Self::Nothing => {
                f.write_str("CHECKED AGAINST NOTHING, as --insecure-no-digest allows")
            }
        }
    }
}

/// The digest of a file in a list as `sha256sum` makes it; in a list of one digest and nothing
/// else, that one.
///
/// # Errors
/// If it has two different ones.
pub fn digest_of(list: &str, name: &str) -> Result<Option<Digest>, String> {
    if let Ok(digest) = list.trim().parse() {
        return Ok(Some(digest));
    }
    let mut found: Option<Digest> = None;
    for line in list.lines() {
        let Some((digest, file)) = line.trim_end().split_once([' ', '\t']) else {
            continue;
        };
        let file = file.trim_start_matches([' ', '\t', '*']);
        let file = file.strip_prefix("./").unwrap_or(file);
        let (true, Ok(digest)) = (file == name, digest.parse()) else {
            continue;
        };
        if found.as_ref().is_some_and(|known| *known != digest) {
            return Err(format!("it has two digests of {name}"));
        }
        found = Some(digest);
    }
    Ok(found)
}

/// The digest of a file in what a forge says of a release; none if it says none.
///
/// # Errors
/// If what it says cannot be read.
pub fn digest_in_release(document: &str, name: &str) -> Result<Option<Digest>, String> {
    #[derive(Deserialize)]
    struct Release {
        assets: Vec<Asset>,
    }
    #[derive(Deserialize)]
    struct Asset {
        name: String,
        digest: Option<String>,
    }
    let release: Release = serde_json::from_str(document)
        .map_err(|error| format!("it does not describe a release: {error}"))?;
    let asset = release.assets.into_iter().find(|asset| asset.name == name);
    let Some(digest) = asset.and_then(|asset| asset.digest) else {
        return Ok(None);
    };
    // Another kind of digest is as good as none.
    Ok(digest
        .starts_with("sha256:")
        .then(|| digest.parse().ok())
        .flatten())
}

/// Whether a list carries a good signature of a key, both in minisign's format.
///
/// # Errors
/// What is wrong with the key or the signature.
pub fn signed(list: &[u8], signature: &str, key: &str) -> Result<(), String> {
    use minisign_verify::{PublicKey, Signature};
    // A key file has a comment line first; on the command line it is the second line alone.
    let key = key.trim().lines().last().unwrap_or_default();
    let key = PublicKey::from_base64(key.trim())
        .map_err(|error| format!("the key is not one of minisign's: {error}"))?;
    let signature = Signature::decode(signature)
        .map_err(|error| format!("the signature is not one of minisign's: {error}"))?;
    key.verify(list, &signature, true)
        .map_err(|error| format!("the signature is not of this key and this list: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    #[test]
    fn digests_are_found_by_name() {
        let list = format!("{A}  other.gz\n{B} *x.gz\nnonsense\n{A}  sub/x.gz\n");
        let found = digest_of(&list, "x.gz").unwrap().unwrap();
        assert_eq!(found.as_str(), B.to_lowercase());
        assert_eq!(digest_of(&list, "y.gz"), Ok(None));
        assert_eq!(
            digest_of(&format!("{A}\n"), "y.gz")
                .unwrap()
                .unwrap()
                .as_str(),
            A
        );
        assert_eq!(digest_of("<!DOCTYPE html>", "y.gz"), Ok(None));
        assert_eq!(digest_of("", "y.gz"), Ok(None));
        assert!(digest_of(&format!("{A} x\n{B} x\n"), "x").is_err());
        assert!(digest_of(&format!("{A} x\n{A} ./x\n"), "x")
            .unwrap()
            .is_some());
    }

    #[test]
    fn a_release_has_the_digest_of_each_of_its_files() {
        let release = format!(
            "{{\"tag_name\":\"t\",\"assets\":[{{\"name\":\"old\",\"digest\":null}},\
             {{\"name\":\"odd\",\"digest\":\"sha512:{A}\"}},{{\"name\":\"none\"}},\
             {{\"name\":\"x.gz\",\"size\":1,\"digest\":\"sha256:{A}\"}}]}}"
        );
        let found = |name| digest_in_release(&release, name);
        assert_eq!(found("x.gz").unwrap().unwrap().as_str(), A);
        for name in ["old", "odd", "none", "other"] {
            assert_eq!(found(name), Ok(None), "{name}");
        }
        for odd in ["", "<html>", "{\"message\":\"Not Found\"}"] {
            assert!(digest_in_release(odd, "x.gz").is_err(), "{odd}");
        }
    }

    #[test]
    fn only_64_hexadecimal_digits_are_a_digest() {
        assert!(format!("sha256:{B}").parse::<Digest>().is_ok());
        for bad in ["", "aa", &A[1..], &A.replace('a', "g"), &format!("{A}a")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn signatures_are_verified() {
        let keys = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let others = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let list = format!("{A}  x.gz\n");
        let sign = |keys: &minisign::KeyPair, text: &str| {
            minisign::sign(None, &keys.sk, text.as_bytes(), None, None)
                .unwrap()
                .into_string()
        };
        let good = sign(&keys, &list);
        let key = keys.pk.to_base64();
        assert_eq!(signed(list.as_bytes(), &good, &key), Ok(()));
        let file = keys.pk.to_box().unwrap().to_string();
        assert_eq!(signed(list.as_bytes(), &good, &file), Ok(()));
        assert!(signed(b"changed", &good, &key).is_err());
        assert!(signed(list.as_bytes(), &good, &others.pk.to_base64()).is_err());
        assert!(signed(list.as_bytes(), &sign(&others, &list), &key).is_err());
        assert!(signed(list.as_bytes(), "<html>", &key).is_err());
        assert!(signed(list.as_bytes(), &good, "nonsense").is_err());
    }
}
