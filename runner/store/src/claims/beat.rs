//! The owner's side of a claim: a counter that moves while the owner lives.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Store;

/// What `<attempt>.beat` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Beat {
    /// Beats so far.
    pub(super) count: u64,
    /// In the last beat of an owner that gives its claim back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<End>,
}

/// Why an owner gave its claim back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(super) enum End {
    /// It was told to stop.
    Released,
    /// The attempt ended in an exception.
    Exception {
        /// What it said.
        message: String,
    },
}

/// A task that overwrites one beat file. It is that file's only writer, also of the last beat, so
/// that no late beat can follow the last one.
#[derive(Debug)]
pub(super) struct Beating {
    stop: oneshot::Sender<Option<End>>,
    task: JoinHandle<()>,
}

const LAST_BEAT_ATTEMPTS: u32 = 3;
const LAST_BEAT_PAUSE: Duration = Duration::from_millis(200);

impl Beating {
    pub(super) fn start(store: Store, key: String, every: Duration) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self {
            stop,
            task: tokio::spawn(beat(store, key, every, stopped)),
        }
    }

    /// Stops the task, after it wrote a last beat if there is an `end` to tell.
    pub(super) async fn stop(self, end: Option<End>) {
        // The task may have gone with its runtime; then there is nobody left to tell.
        if self.stop.send(end).is_ok() {
            self.task.await.expect("beating does not panic");
        }
    }
}

async fn beat(
    store: Store,
    key: String,
    every: Duration,
    mut stopped: oneshot::Receiver<Option<End>>,
) {
    let mut count = 0;
    let mut next = Instant::now() + every;
    let end = loop {
        tokio::select! {
            // A sender dropped without a word ends the task without a last beat.
            end = &mut stopped => break end.ok().flatten(),
            () = sleep_until(next) => {}
        }
        count += 1;
        if let Err(error) = write(&store, &key, &Beat { count, end: None }).await {
            tracing::warn!(key, %error, "A beat was not written.");
        }
        next = Instant::now() + every;
    };
    let Some(end) = end else { return };
    let last = Beat {
        count: count + 1,
        end: Some(end),
    };
    for attempt in 1..=LAST_BEAT_ATTEMPTS {
        if attempt > 1 {
            store.counters().tries_again();
        }
        match write(&store, &key, &last).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(key, attempt, %error, "A claim was not given back."),
        }
        sleep(LAST_BEAT_PAUSE).await;
    }
}

async fn write(store: &Store, key: &str, beat: &Beat) -> Result<(), crate::StoreError> {
    let text = serde_json::to_vec(beat).expect("a count and a message are JSON");
    store.put_overwrite(key, text.into()).await
}
