//! The parts that addresses of every scheme are made of.

/// An address that cannot be read. The caller knows which field it stands in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No scheme, or one that is not accepted here.
    #[error("{found:?} has no accepted scheme, {accepted} is accepted")]
    Scheme {
        /// The address.
        found: String,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// A part is missing or malformed.
    #[error("{found:?} has {problem}, {accepted} is accepted")]
    Part {
        /// The address.
        found: String,
        /// What is wrong with it.
        problem: &'static str,
        /// What would be accepted.
        accepted: &'static str,
    },
}

/// The address under reading, so that every error can show it and what would be right.
#[derive(Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) text: &'a str,
    pub(super) accepted: &'static str,
}

impl<'a> Address<'a> {
    /// This address does not fit, for this reason.
    pub(super) fn error(self, problem: &'static str) -> AddressError {
        AddressError::Part {
            found: self.text.to_owned(),
            problem,
            accepted: self.accepted,
        }
    }

    /// Splits `host/path`; the path may be empty and never climbs.
    pub(super) fn host_and_path(self, rest: &'a str) -> Result<(String, String), AddressError> {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err(self.error("no name after the scheme"));
        }
        if !host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        {
            return Err(self.error("a name with characters other than letters, digits, - . _"));
        }
        Ok((host.to_owned(), self.path(path)?))
    }

    /// A path without `.`, `..` or empty segments; slashes at the end are dropped.
    pub(super) fn path(self, path: &str) -> Result<String, AddressError> {
        let path = path.trim_end_matches('/');
        if path.chars().any(char::is_control) {
            return Err(self.error("control characters in its path"));
        }
        for segment in path.split('/') {
            match segment {
                "" if !path.is_empty() => return Err(self.error("an empty part in its path")),
                "." | ".." => return Err(self.error("a part . or .. in its path")),
                _ => {}
            }
        }
        Ok(path.to_owned())
    }

    /// A claim's name: what Kubernetes accepts as one.
    pub(super) fn claim(self, name: String) -> Result<String, AddressError> {
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(self.error("a claim's name that Kubernetes does not accept"));
        }
        Ok(name)
    }
}

/// `name/path`, without a slash when there is no path.
pub(super) fn joined(name: &str, path: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{name}/{path}")
    }
}
