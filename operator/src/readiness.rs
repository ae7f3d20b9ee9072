//! Whether the operator sees the runs: the answer of `/readyz`.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use kube::runtime::{reflector::Store, watcher};

use darwinlm_api::PruningRun;

use crate::run_controller::words::words;

/// What is known of the watches; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    watches: Arc<Mutex<Vec<Watch>>>,
    missing_fields: Arc<Mutex<Vec<String>>>,
}

/// One watch of runs.
#[derive(Debug)]
struct Watch {
    store: Store<PruningRun>,
    failure: Option<Failure>,
}

/// Why a watch failed last.
#[derive(Debug)]
struct Failure {
    unknown_resource: bool,
    message: String,
}

/// Names a watch to [`Readiness::watch_works`] and [`Readiness::watch_failed`].
#[derive(Clone, Copy, Debug)]
pub struct WatchId(usize);

impl Readiness {
    /// Adds a watch whose store must fill before the operator is ready.
    pub fn add(&self, store: Store<PruningRun>) -> WatchId {
        let mut watches = self.lock();
        watches.push(Watch {
            store,
            failure: None,
        });
        WatchId(watches.len() - 1)
    }

    /// Notes that a watch has brought an event.
    pub fn watch_works(&self, WatchId(id): WatchId) {
        self.lock()[id].failure = None;
    }

    /// Notes why a watch broke. It is tried again by itself.
    pub fn watch_failed(&self, WatchId(id): WatchId, error: &watcher::Error) {
        let unknown_resource = is_not_found(error);
        let message = words(error);
        self.lock()[id].failure = Some(Failure {
            unknown_resource,
            message,
        });
    }

    /// Notes the fields that the installed definition lacks, by their paths.
    pub fn definition_lacks(&self, fields: Vec<String>) {
        *self
            .missing_fields
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fields;
    }

    /// Whether every run has been seen once and the API server still knows the resource, with
    /// every field: where it does not, an upgrade waits and the operator of before goes on.
    ///
    /// A watch that broke for another reason leaves the operator ready: what it knows is old, and
    /// taking it out of its Service would only hide the metrics that say so.
    ///
    /// # Errors
    /// What is missing, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        for watch in self.lock().iter() {
            let why = || {
                watch
                    .failure
                    .as_ref()
                    .map_or("", |failure| &failure.message)
            };
            if watch
                .failure
                .as_ref()
                .is_some_and(|failure| failure.unknown_resource)
            {
                return Err(format!(
                    "pruningruns.darwinlm.io is not installed: {}",
                    why()
                ));
            }
            if watch.store.wait_until_ready().now_or_never().is_none() {
                return Err(format!("pruningruns have not been listed yet; {}", why()));
            }
        }
        let missing = self
            .missing_fields
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !missing.is_empty() {
            return Err(format!(
                "the installed definition of pruningruns.darwinlm.io is older than this operator \
                 and lacks {}: apply the new one",
                missing.join(", ")
            ));
        }
        Ok(())
    }

    /// Every run that is known.
    pub fn runs(&self) -> Vec<Arc<PruningRun>> {
        self.lock()
            .iter()
            .flat_map(|watch| watch.store.state())
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer for a resource that is not installed has no reason, only this code.
const NOT_FOUND: u16 = 404;

fn is_not_found(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == NOT_FOUND,
        watcher::Error::WatchError(status) => status.code == NOT_FOUND,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

#[cfg(test)]
mod tests {
    use kube::{
        core::Status,
        runtime::{reflector, watcher::Event},
    };

    use super::*;

    fn not_found() -> watcher::Error {
        let status = Status::failure(
            "the server could not find the requested resource",
            "NotFound",
        )
        .with_code(404);
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn the_operator_is_ready_when_every_watch_has_been_filled_once() {
        let readiness = Readiness::default();
        let (reader, mut writer) = reflector::store();
        readiness.add(reader);
        assert!(readiness.check().unwrap_err().contains("not been listed"));
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        assert_eq!(readiness.check(), Ok(()));
    }

    #[test]
    fn an_operator_without_its_resource_says_so() {
        let readiness = Readiness::default();
        let (reader, mut writer) = reflector::store();
        let watch = readiness.add(reader);
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        readiness.watch_failed(watch, &not_found());
        assert!(readiness.check().unwrap_err().contains("is not installed"));
        readiness.watch_works(watch);
        assert_eq!(readiness.check(), Ok(()));
    }

    #[test]
    fn an_operator_that_is_newer_than_the_definition_says_which_fields_are_lost() {
        let readiness = Readiness::default();
        readiness.definition_lacks(vec!["spec.budget".to_owned()]);
        assert!(readiness.check().unwrap_err().contains("lacks spec.budget"));
        readiness.definition_lacks(Vec::new());
        assert_eq!(readiness.check(), Ok(()));
    }

    #[test]
    fn a_broken_watch_leaves_the_operator_ready() {
        let readiness = Readiness::default();
        let (reader, mut writer) = reflector::store();
        let watch = readiness.add(reader);
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        readiness.watch_failed(watch, &watcher::Error::NoResourceVersion);
        assert_eq!(readiness.check(), Ok(()));
    }
}
