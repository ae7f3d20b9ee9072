//! Words of others as they may stand in a status: on one line, bounded, without credentials.

/// Longest words of somebody else in a condition.
const WORDS_BYTES: usize = 512;

/// What somebody said, fit for a status: an address loses its user, password and query, where
/// tokens and signatures travel.
pub(crate) fn said(words: &str) -> String {
    let words: Vec<_> = words.split_whitespace().map(without_credentials).collect();
    bounded(&words.join(" "), WORDS_BYTES).to_owned()
}

/// The first bytes of a text, cut at a character's boundary.
pub(crate) fn bounded(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn without_credentials(word: &str) -> String {
    let Some((before, address)) = word.split_once("://") else {
        return word.to_owned();
    };
    let is_end = |c: char| matches!(c, '"' | '\'' | ')' | ']' | '>' | '\\');
    let (address, after) = address.split_at(address.find(is_end).unwrap_or(address.len()));
    let host = address.find(['/', '?', '#']).unwrap_or(address.len());
    let address = match address[..host].rfind('@') {
        Some(at) => &address[at + 1..],
        None => address,
    };
    let address = match address.split_once('?') {
        Some((path, _)) => format!("{path}?…"),
        None => address.to_owned(),
    };
    format!("{before}://{address}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_its_user_its_password_and_its_query() {
        let words = "failed: Get \"https://me:secret@registry.example/v2/a?token=secret&x=1\": 401\n  twice";
        assert_eq!(
            said(words),
            "failed: Get \"https://registry.example/v2/a?…\": 401 twice"
        );
        assert_eq!(
            said("s3://bucket/key@2 is fine"),
            "s3://bucket/key@2 is fine"
        );
        assert_eq!(said("https://host?sig=secret"), "https://host?…");
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let words = said(&"ü".repeat(1000));
        assert!(words.len() <= WORDS_BYTES && words.chars().all(|c| c == 'ü'));
    }
}
