//! Which files of a listing an address names: one file, everything in a folder, or a pattern.

use globset::{GlobBuilder, GlobMatcher};

use super::SourceError;

/// The path of an address. Only `*` makes it a pattern: other signs may stand in names.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// A file, or a folder with everything below.
    Literal(String),
    /// What matches: `*` stays within a name, `**` does not.
    Glob { text: String, matcher: GlobMatcher },
}

impl Pattern {
    /// Reads a path without a slash at either end.
    pub(super) fn parse(path: &str) -> Result<Self, SourceError> {
        if !path.contains('*') {
            return Ok(Self::Literal(path.to_owned()));
        }
        let glob = GlobBuilder::new(&escape(path))
            .literal_separator(true)
            .backslash_escape(true)
            .build();
        let glob = glob.map_err(|error| SourceError::Pattern {
            pattern: path.to_owned(),
            reason: error.kind().to_string(),
        })?;
        Ok(Self::Glob {
            text: path.to_owned(),
            matcher: glob.compile_matcher(),
        })
    }

    /// The folder that holds every file that can match, without a slash at its end; empty for all.
    pub(super) fn folder(&self) -> &str {
        let (path, fixed) = match self {
            Self::Literal(path) => (path, path.len()),
            Self::Glob { text, .. } => (text, text.find('*').unwrap_or(text.len())),
        };
        path[..fixed]
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder)
    }

    /// Whether a file of the listing is meant.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Literal(path) => {
                let below = name.strip_prefix(path.as_str());
                path.is_empty()
                    || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Glob { matcher, .. } => matcher.is_match(name),
        }
    }

    /// Whether exactly this file is meant.
    pub(super) fn names(&self, name: &str) -> bool {
        matches!(self, Self::Literal(path) if path == name)
    }
}

/// Takes their meaning from the signs that are none here.
fn escape(path: &str) -> String {
    let mut escaped = String::new();
    for sign in path.chars() {
        if "[]{}?!\\".contains(sign) {
            escaped.push('\\');
        }
        escaped.push(sign);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching<'a>(pattern: &str, names: &[&'a str]) -> Vec<&'a str> {
        let pattern = Pattern::parse(pattern).unwrap();
        let matches = |name: &&&str| pattern.matches(name);
        names.iter().filter(matches).copied().collect()
    }

    #[test]
    fn a_star_stays_within_a_name_and_two_do_not() {
        let names = ["a/1.parquet", "a/b/2.parquet", "a/1.txt", "c/3.parquet"];
        assert_eq!(matching("a/*.parquet", &names), ["a/1.parquet"]);
        assert_eq!(
            matching("a/**/*.parquet", &names),
            ["a/1.parquet", "a/b/2.parquet"]
        );
        assert_eq!(
            matching("*/*.parquet", &names),
            ["a/1.parquet", "c/3.parquet"]
        );
    }

    #[test]
    fn a_path_without_a_star_is_a_file_or_all_of_a_folder() {
        let names = ["a/1.txt", "a/b/2.txt", "ab.txt", "a[1]?.txt"];
        assert_eq!(matching("a", &names), ["a/1.txt", "a/b/2.txt"]);
        assert_eq!(matching("a/1.txt", &names), ["a/1.txt"]);
        assert_eq!(matching("", &names), names);
        assert_eq!(matching("a[1]?.txt", &names), ["a[1]?.txt"]);
        assert_eq!(matching("a[1]?*", &names), ["a[1]?.txt"]);
    }

    #[test]
    fn the_folder_of_a_pattern_ends_before_its_first_star() {
        for (pattern, folder) in [
            ("sample/10BT/*.parquet", "sample/10BT"),
            ("sample/1*/x", "sample"),
            ("*.txt", ""),
            ("a/b.txt", "a"),
            ("b.txt", ""),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().folder(), folder);
        }
    }
}
