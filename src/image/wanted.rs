//! Which image is wanted, as variables: for the service, and for a journal.

use anyhow::{Context as _, Result};

use super::{Source, Wanted};
use crate::facts::Config;

impl Wanted {
    /// The variables that say the same as the options.
    #[must_use]
    pub fn variables(&self) -> Config {
        let mut variables = Config::new();
        let mut say = |name: &str, value: String| variables.insert(name.to_owned(), value);
        match &self.source {
            Source::Url(url) => say("TAOS_IMAGE_URL", url.to_string()),
            Source::File(path) => say("TAOS_IMAGE_FILE", path.display().to_string()),
        };
        if let Some(digest) = &self.sha256 {
            say("TAOS_IMAGE_SHA256", digest.to_string());
        }
        if let Some(key) = &self.key {
            say("TAOS_IMAGE_KEY", key.clone());
        }
        if self.insecure {
            say("TAOS_IMAGE_INSECURE_NO_DIGEST", "1".into());
        }
        variables
    }

    /// The other way round.
    ///
    /// # Errors
    /// If they name no image, or what they say is not well-formed.
    pub fn from_variables(variables: &Config) -> Result<Self> {
        let value = |name: &str| variables.get(name);
        let source = match (value("TAOS_IMAGE_FILE"), value("TAOS_IMAGE_URL")) {
            (Some(path), _) => Source::File(path.into()),
            (None, url) => Source::Url(url.context("no image is named")?.parse()?),
        };
        let sha256 = value("TAOS_IMAGE_SHA256").map(|digest| digest.parse());
        Ok(Self {
            source,
            sha256: sha256.transpose()?,
            key: value("TAOS_IMAGE_KEY").cloned(),
            insecure: value("TAOS_IMAGE_INSECURE_NO_DIGEST").is_some(),
            refresh: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_say_what_options_say() {
        let file = Wanted {
            source: Source::File("/x".into()),
            sha256: Some("a".repeat(64).parse().expect("a digest")),
            key: Some("RWQ".into()),
            insecure: true,
            refresh: false,
        };
        let url = Wanted {
            source: Source::Url("https://example.org/x".parse().expect("an address")),
            sha256: None,
            key: None,
            insecure: false,
            refresh: false,
        };
        for wanted in [file, url] {
            let back = Wanted::from_variables(&wanted.variables()).expect("the same");
            assert_eq!(back, wanted);
        }
        assert!(Wanted::from_variables(&Config::new()).is_err());
    }
}
