//! Proof, before any work, that a second create on this store fails.

use bytes::Bytes;
use uuid::Uuid;

use crate::{Created, Store, StoreError};

/// Creates a file twice below `prefix` and removes it.
///
/// Everything that workers agree on rests on create-only files. A store that lets a second create
/// succeed (a file system without hard links, a gateway that ignores `If-None-Match`) would
/// let two workers own one trial and let results change after they were read.
///
/// # Errors
/// [`StoreError::NotExclusive`] naming the file system and the URL (exit code 69) when the second
/// create succeeds or changes what is stored; what the store answers when the first one fails.
pub async fn probe(store: &Store, prefix: &str) -> Result<(), StoreError> {
    let key = format!("{prefix}/probes/{}", Uuid::new_v4());
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    let refused = |detail: &str| StoreError::NotExclusive {
        url: store.url().to_owned(),
        system: store.system(),
        detail: detail.to_owned(),
    };
    let settled = store.settle(&key, first.clone()).await?;
    if !settled.ours {
        return Err(refused("a file that was just created holds something else"));
    }
    // An error is no answer; the read below judges it.
    let again = store.put_create(&key, second).await;
    let stored = store.get(&key).await?;
    if matches!(again, Ok(Created::Created)) {
        return Err(refused("a second create of one file succeeded"));
    }
    if stored != first {
        return Err(refused(
            "a second create of one file was refused, but replaced it",
        ));
    }
    again?;
    if let Err(error) = store.remove(&key).await {
        tracing::debug!(key, %error, "The probe stays behind.");
    }
    Ok(())
}
