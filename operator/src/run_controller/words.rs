//! An error with all its causes in one line, as logs and probes tell it.

use std::error::Error;

use kube::runtime::watcher;

/// One line. Answers of the API server are told in its own words: kube's text of them repeats
/// each several times.
pub(crate) fn words(error: &(dyn Error + 'static)) -> String {
    let mut parts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(kube::Error::Api(status)) = error.downcast_ref() {
            parts.push(format!("{} {}", status.code, status.message));
            break;
        }
        parts.push(match error.downcast_ref() {
            Some(watcher::Error::InitialListFailed(_)) => "failed to list".to_owned(),
            Some(watcher::Error::WatchStartFailed(_)) => "failed to watch".to_owned(),
            Some(watcher::Error::WatchFailed(_)) => "failed to go on watching".to_owned(),
            Some(watcher::Error::WatchError(status)) => {
                format!("the watch ended: {} {}", status.code, status.message)
            }
            Some(watcher::Error::NoResourceVersion) | None => error.to_string(),
        });
        next = error.source();
    }
    // Some errors repeat their cause in their own text.
    parts.dedup_by(|cause, error| error.ends_with(cause.as_str()));
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::run_controller::{Error, apply};

    #[test]
    fn an_answer_of_the_api_server_is_told_once() {
        let status = Status::failure("exceeded quota", "Forbidden").with_code(403);
        let source = kube::Error::Api(Box::new(status));
        let watch = watcher::Error::InitialListFailed(source);
        assert_eq!(words(&watch), "failed to list: 403 exceeded quota");
    }

    #[test]
    fn every_cause_is_told() {
        let status = Status::failure("etcd is away", "InternalError").with_code(500);
        let error = Error::from(apply::Error::Call {
            verb: "create",
            name: "demo-prepare-a1".to_owned(),
            source: kube::Error::Api(Box::new(status)),
        });
        assert_eq!(
            words(&error),
            "failed to carry out what was decided: failed to create Job demo-prepare-a1: 500 etcd \
             is away"
        );
    }
}
