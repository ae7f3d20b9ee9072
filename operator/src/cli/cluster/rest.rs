//! `darwinlm suspend` and `darwinlm resume`: `spec.suspend` of a run in a cluster.

use clap::Args;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{Failure, MANAGER, Place};

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  darwinlm suspend smollm2 -n research   its workers leave; what is stored stays
  darwinlm resume smollm2 -n research    the search goes on where it was";

#[derive(Debug, Args)]
pub(in crate::cli) struct Rest {
    /// Name of the run
    run: String,
    #[command(flatten)]
    place: Place,
}

/// Suspends a run, or resumes it.
pub(in crate::cli) async fn rest(arguments: Rest, suspend: bool) -> Result<(), Failure> {
    let Rest { run: name, place } = arguments;
    let cluster = place.open().await?;
    let was = cluster.run(&name).await?.spec.suspend;
    if was != suspend {
        let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let answer = cluster.runs().patch(&name, &parameters, &patch).await;
        answer.map_err(|error| cluster.failed(&error))?;
    }
    println!("{}", sentence(&name, was, suspend));
    Ok(())
}

fn sentence(name: &str, was: bool, suspend: bool) -> String {
    match (was, suspend) {
        (true, true) => format!("{name} is suspended already"),
        (false, false) => format!("{name} is not suspended"),
        (false, true) => {
            format!("{name} is suspended: its workers leave, and what they have stored stays")
        }
        (true, false) => format!("{name} is resumed"),
    }
}
