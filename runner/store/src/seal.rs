//! A JSON record with its own sha256, so that a flipped byte is found where no manifest names it.
//!
//! The text is `{"sha256":"<64 hex digits>","record":<record>}` and a newline. The digest is over
//! the record's bytes as they stand, so nothing depends on how a library writes numbers.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Store, StoreError, digest_bytes};

const BEFORE_DIGEST: &str = "{\"sha256\":\"";
const BEFORE_RECORD: &str = "\",\"record\":";
const AFTER_RECORD: &str = "}\n";

/// Writes a record with its digest.
pub(crate) fn seal<T: Serialize>(record: &T) -> Bytes {
    let record = serde_json::to_string(record).expect("records hold strings, numbers and lists");
    let sha256 = digest_bytes(record.as_bytes()).sha256;
    format!("{BEFORE_DIGEST}{sha256}{BEFORE_RECORD}{record}{AFTER_RECORD}").into()
}

/// Reads a record and checks its digest; `key` is named where it is wrong.
pub(crate) fn unseal<T: DeserializeOwned>(
    store: &Store,
    key: &str,
    bytes: &[u8],
) -> Result<T, StoreError> {
    let (sha256, record) =
        split(bytes).ok_or_else(|| store.malformed(key, "it is not a record with its sha256"))?;
    store.check_digest(key, &digest_bytes(record.as_bytes()).sha256, sha256)?;
    serde_json::from_str(record).map_err(|error| store.malformed(key, error))
}

fn split(bytes: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let rest = text
        .strip_prefix(BEFORE_DIGEST)?
        .strip_suffix(AFTER_RECORD)?;
    let (sha256, rest) = rest.split_at_checked(64)?;
    Some((sha256, rest.strip_prefix(BEFORE_RECORD)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_any_byte_flipped_is_refused_by_name() {
        let store = Store::open("memory:///").unwrap();
        let sealed = seal(&("a record", 7));
        let record: (String, u32) = unseal(&store, "some/key", &sealed).unwrap();
        assert_eq!(record, ("a record".to_owned(), 7));
        for at in 0..sealed.len() {
            let mut bytes = sealed.to_vec();
            bytes[at] ^= 1;
            let error = unseal::<(String, u32)>(&store, "some/key", &bytes).unwrap_err();
            assert!(error.to_string().contains("some/key"), "{error}");
        }
        for length in 0..sealed.len() {
            assert!(unseal::<(String, u32)>(&store, "some/key", &sealed[..length]).is_err());
        }
    }
}
