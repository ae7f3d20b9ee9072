//! Stores that cannot keep claims apart are found out before any work.

use darwinlm_store::probe;
use darwinlm_task::ExitCode;

use crate::broken::{Broken, Fault};
use crate::setting::{folder, memory};

#[tokio::test]
async fn a_store_with_exclusive_creates_passes_and_is_left_clean() {
    let (_folder, local) = folder();
    for store in [local, memory()] {
        probe(&store, "runs/n.r").await.unwrap();
        assert!(store.list("runs").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_store_that_creates_twice_is_refused_by_its_name() {
    for fault in [Fault::Replaces, Fault::ReplacesInSecret] {
        let store = Broken::new(fault, "probes", 2).store();
        let error = probe(&store, "runs/n.r").await.unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::StoreUnavailable, "{fault:?}");
        let text = error.to_string();
        assert!(
            text.contains("broken:///") && text.contains("Broken"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_lost_answer_is_no_reason_to_refuse_a_store() {
    for fault in [Fault::AnswerLost, Fault::RequestLost, Fault::RetriedBelow] {
        let store = Broken::new(fault, "probes", 1).store();
        probe(&store, "runs/n.r").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_writes_nothing_is_unavailable() {
    for fault in [Fault::RequestLost, Fault::Forgotten] {
        let store = Broken::new(fault, "probes", 100).store();
        let error = probe(&store, "runs/n.r").await.unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::StoreUnavailable);
        assert!(error.to_string().contains("runs/n.r/probes/"), "{error}");
    }
}
