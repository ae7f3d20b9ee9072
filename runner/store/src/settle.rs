//! Create, then read back: the one way anything is agreed on.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use crate::{Created, Store, StoreError};

/// What lies under a key after a create, whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The bytes that lie there, from now on for ever.
    pub stored: Bytes,
    /// Whether they are the ones we offered: ours, or another's that are equal.
    pub ours: bool,
}

const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

impl Store {
    /// Creates a small file and reads it back, whatever the create answered.
    ///
    /// "Exists" may be our own write whose acknowledgement was lost and retried below us; an error
    /// may hide a write that took place. Only what can be read counts: our bytes mean that we were
    /// first (or agree), others that another was, and nothing that it has to be tried again.
    ///
    /// # Errors
    /// [`StoreError::Denied`] at once; the store's last answer after 5 attempts, with pauses that
    /// double from 100 ms.
    pub async fn settle(&self, key: &str, bytes: Bytes) -> Result<Settled, StoreError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let created = self.put_create(key, bytes.clone()).await;
            let read = self.get_if_exists(key).await;
            let problem = match (created, read) {
                (_, Ok(Some(stored))) => {
                    let ours = stored == bytes;
                    return Ok(Settled { stored, ours });
                }
                (Err(error), _) | (Ok(_), Err(error)) => error,
                (Ok(Created::Created | Created::Existed), Ok(None)) => StoreError::Vanished {
                    key: key.to_owned(),
                    url: self.url().to_owned(),
                    attempts: attempt,
                },
            };
            let hopeless = matches!(
                problem,
                StoreError::Denied { .. } | StoreError::NoBucket { .. } | StoreError::Key { .. }
            );
            if hopeless || attempt >= ATTEMPTS {
                return Err(problem);
            }
            self.counters().tries_again();
            tracing::warn!(key, attempt, error = %problem, "A create is tried again.");
            sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the loop ends by returning")
    }
}
