//! `evaluation.json`: what was measured, and of which survivor.

use bytes::Bytes;
use darwinlm_search::{Digest, Genome};
use darwinlm_store::digest_bytes;
use darwinlm_task::EvaluationReport;
use serde::{Deserialize, Serialize};

use crate::command::context::{Context, store_failure};
use crate::command::search::Found;
use crate::failure::Failure;

/// What an evaluation is of: another survivor or another training has another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::command) struct Evaluated {
    /// Head of the search's hash chain.
    ledger: Digest,
    /// The survivor.
    genome: Genome,
    /// Digest of its training, if it was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    training: Option<String>,
}

impl Evaluated {
    pub(in crate::command) fn new(found: &Found, training: Option<String>) -> Self {
        Self {
            ledger: found.digest,
            genome: found.survivor.genome.clone(),
            training,
        }
    }
}

/// The content of the file; replaced as a whole when it is of anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::command) struct Evaluation {
    pub(in crate::command) of: Evaluated,
    pub(in crate::command) report: EvaluationReport,
}

impl Evaluation {
    /// The one that is stored, if there is one. What cannot be read, as another version's, is
    /// measured anew.
    pub(in crate::command) async fn stored(context: &Context) -> Result<Option<Self>, Failure> {
        let key = context.paths.evaluation();
        let bytes = context.store.get_if_exists(&key).await;
        let Some(bytes) = bytes.map_err(store_failure)? else {
            return Ok(None);
        };
        let known = serde_json::from_slice(&bytes);
        Ok(known
            .inspect_err(|error| tracing::warn!(key, %error, "the evaluation cannot be read"))
            .ok())
    }

    /// Stores it and returns what was measured.
    pub(super) async fn store(self, context: &Context) -> Result<EvaluationReport, Failure> {
        let key = context.paths.evaluation();
        let stored = context.store.put_overwrite(&key, self.to_bytes()).await;
        stored.map_err(store_failure)?;
        Ok(self.report)
    }

    /// sha256 of the file, as 64 hex digits.
    pub(in crate::command) fn sha256(&self) -> String {
        digest_bytes(&self.to_bytes()).sha256
    }

    fn to_bytes(&self) -> Bytes {
        let mut text = serde_json::to_vec_pretty(self).expect("strings and numbers are JSON");
        text.push(b'\n');
        text.into()
    }
}
