//! Credentials and endpoints of sources, as environment variables.

use std::collections::BTreeMap;
use std::fmt;

use darwinlm_store::Variable;
use darwinlm_task::SOURCE_PREFIX;

/// The variables that sources are fetched with.
///
/// In a pod the Secret of the sources comes with [`SOURCE_PREFIX`] before each name, so that the
/// credentials of a source and of the store do not cover each other where both are buckets. On one
/// machine there is one environment for both.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Those of this process; what is not text is no credential.
    pub fn of_this_process() -> Self {
        let text = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self(text.collect())
    }

    /// A variable by its plain name: the source's own, else the common one; an empty one is none.
    pub fn get(&self, name: &str) -> Option<&str> {
        let own = self.0.get(&format!("{SOURCE_PREFIX}{name}"));
        let value = own.or_else(|| self.0.get(name))?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// The variables of one provider (`AWS_`…) by their plain names: the source's own where it has
    /// any, else the common ones. The two are not mixed: half a credential of each fits neither.
    pub fn family(&self, family: &str) -> Vec<Variable> {
        let named = |prefix: &str| -> Vec<Variable> {
            let start = format!("{prefix}{family}");
            let of_family = self.0.iter().filter(|(name, _)| name.starts_with(&start));
            of_family
                .map(|(name, value)| (name[prefix.len()..].to_owned(), value.clone()))
                .collect()
        };
        let own = named(SOURCE_PREFIX);
        if own.is_empty() { named("") } else { own }
    }
}

impl FromIterator<Variable> for Variables {
    fn from_iter<I: IntoIterator<Item = Variable>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// Names alone: values are secrets.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(given: &[(&str, &str)]) -> Variables {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        given.iter().map(owned).collect()
    }

    #[test]
    fn the_sources_own_credentials_come_before_the_stores() {
        let both = variables(&[
            ("AWS_ACCESS_KEY_ID", "store"),
            ("AWS_SESSION_TOKEN", "store"),
            ("DARWINLM_SOURCE_AWS_ACCESS_KEY_ID", "source"),
            ("DARWINLM_SOURCE_HF_TOKEN", "hf_own\n"),
            ("HF_ENDPOINT", "http://hub"),
        ]);
        let family = both.family("AWS_");
        assert_eq!(
            family,
            [("AWS_ACCESS_KEY_ID".to_owned(), "source".to_owned())]
        );
        assert_eq!(both.get("HF_TOKEN"), Some("hf_own"));
        assert_eq!(both.get("HF_ENDPOINT"), Some("http://hub"));
        assert_eq!(both.get("HF_HOME"), None);
        let one = variables(&[("AWS_ACCESS_KEY_ID", "both"), ("HF_TOKEN", " ")]);
        assert_eq!(one.family("AWS_").len(), 1);
        assert_eq!(one.get("HF_TOKEN"), None);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let said = format!("{:?}", variables(&[("HF_TOKEN", "hf_secret")]));
        assert_eq!(said, "{\"HF_TOKEN\"}");
    }
}
