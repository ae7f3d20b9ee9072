//! Where things lie in the store. Keys are relative to the store's URL and use `/`.
//!
//! Folders keyed by a digest are shared between runs; `runs/<namespace>.<name>/` is one run's own.

use darwinlm_search::TrialId;

use crate::{RunIdentity, TokenSlice};

/// The manifest's file name in every write-once folder: written last, trusted first.
pub const MANIFEST: &str = "manifest.json";

/// The loss of every step, beside the trained weights: `losses`, a double each.
pub const TRAINED_LOSSES: &str = "losses.safetensors";

/// `models/<digest>`: the dense model as fetched.
pub fn model(digest: &str) -> String {
    format!("models/{digest}")
}

/// `tokens/<digest>`: the tokenised slices.
pub fn tokens(digest: &str) -> String {
    format!("tokens/{digest}")
}

/// `tokens/<digest>/<slice>.safetensors`.
pub fn token_slice(digest: &str, slice: TokenSlice) -> String {
    format!("tokens/{digest}/{}.safetensors", slice.name())
}

/// `databases/<digest>`: a level database.
pub fn database(digest: &str) -> String {
    format!("databases/{digest}")
}

/// `teachers/<digest>`: the dense model's final hidden states over a slice.
pub fn teacher(digest: &str) -> String {
    format!("teachers/{digest}")
}

/// `latency/<digest>.json`: the times of a model's modules on one device.
pub fn latency(digest: &str) -> String {
    format!("latency/{digest}.json")
}

/// `<prefix>/claims/<subject>/<attempt>`: create-only, holds the owner's token. The prefix is a run's
/// own, or that of a folder that several runs fill together.
pub fn claim(prefix: &str, subject: &str, attempt: u32) -> String {
    format!("{prefix}/claims/{subject}/{attempt}")
}

/// `<prefix>/claims/<subject>/<attempt>.beat`: overwritten by the owner.
pub fn beat(prefix: &str, subject: &str, attempt: u32) -> String {
    format!("{prefix}/claims/{subject}/{attempt}.beat")
}

/// The keys below one run's own prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPaths {
    prefix: String,
}

impl RunPaths {
    /// `runs/<namespace>.<name>`.
    pub fn new(run: &RunIdentity) -> Self {
        Self {
            prefix: format!("runs/{}.{}", run.namespace, run.name),
        }
    }

    /// The run's own prefix, without a slash at the end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `run.json`: create-only, holds what this prefix was made for.
    pub fn run(&self) -> String {
        format!("{}/run.json", self.prefix)
    }

    /// `plan.json`: what `prepare` fixed.
    pub fn plan(&self) -> String {
        format!("{}/plan.json", self.prefix)
    }

    /// `latency.json`: which table of latencies is the run's.
    pub fn latency(&self) -> String {
        format!("{}/latency.json", self.prefix)
    }

    /// `uses/<folder>`: the run works with this shared folder or file, such as `models/<digest>`.
    pub fn uses(&self, folder: &str) -> String {
        format!("{}/uses/{folder}", self.prefix)
    }

    /// `ledger/<index>.json`: entry 0 is the search's own definition, entry g closes generation g.
    pub fn ledger_entry(&self, index: u32) -> String {
        format!("{}/ledger/{index:06}.json", self.prefix)
    }

    /// `ledger/<index>.cost.json`: times and devices of an entry, not hashed.
    pub fn ledger_cost(&self, index: u32) -> String {
        format!("{}/ledger/{index:06}.cost.json", self.prefix)
    }

    /// `trials/<trial>.json`: a trial's result, create-only.
    pub fn trial(&self, trial: &TrialId) -> String {
        format!("{}/trials/{trial}.json", self.prefix)
    }

    /// `workers/<worker>.json`: one worker's own times.
    pub fn worker(&self, worker: &str) -> String {
        format!("{}/workers/{worker}.json", self.prefix)
    }

    /// `survivor.json`: the survivor's validation figures by generation, outside the digest.
    pub fn survivor(&self, index: u32) -> String {
        format!("{}/survivors/{index:06}.json", self.prefix)
    }

    /// `checkpoints`: every post-training of the run.
    pub fn trainings(&self) -> String {
        format!("{}/checkpoints", self.prefix)
    }

    /// `checkpoints/<training>`: everything of one post-training, named by the digest of what decides
    /// its outcome.
    pub fn training(&self, digest: &str) -> String {
        format!("{}/{digest}", self.trainings())
    }

    /// `checkpoints/<training>/newest.json`: the step of the newest whole checkpoint; overwritten.
    pub fn newest_checkpoint(&self, digest: &str) -> String {
        format!("{}/newest.json", self.training(digest))
    }

    /// `checkpoints/<training>/<step>`: what training goes on from after a step.
    pub fn checkpoint(&self, digest: &str, step: u64) -> String {
        format!("{}/{step:08}", self.training(digest))
    }

    /// `checkpoints/<training>/trained`: the trained survivor's weights and its loss curve.
    pub fn trained(&self, digest: &str) -> String {
        format!("{}/trained", self.training(digest))
    }

    /// `evaluation.json`.
    pub fn evaluation(&self) -> String {
        format!("{}/evaluation.json", self.prefix)
    }

    /// `report.html`: the page that tells of the run; overwritten by every task that has more to tell.
    pub fn report(&self) -> String {
        format!("{}/report.html", self.prefix)
    }
}
