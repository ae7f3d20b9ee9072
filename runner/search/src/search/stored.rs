//! What of a search is stored: that which cannot be recomputed.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fitness::Outcome;
use crate::problem::{Problem, ProblemError};
use crate::search::{Search, SearchError};
use crate::survivor::Survivor;
use crate::trial::TrialId;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Stored {
    problem: Problem,
    generation: u32,
    digest: Digest,
    survivor: Survivor,
    outcomes: Vec<(TrialId, Outcome)>,
}

impl From<Search> for Stored {
    fn from(search: Search) -> Stored {
        let generation = search.generation();
        let outcomes = search
            .round()
            .map(|round| round.outcomes().collect())
            .unwrap_or_default();
        let Search {
            problem,
            digest,
            survivor,
            space: _,
            progress: _,
        } = search;
        Stored {
            problem,
            generation,
            digest,
            survivor,
            outcomes,
        }
    }
}

impl TryFrom<Stored> for Search {
    type Error = SearchError;

    fn try_from(stored: Stored) -> Result<Search, SearchError> {
        let Stored {
            problem,
            generation,
            digest,
            survivor,
            outcomes,
        } = stored;
        problem.validate()?;
        let deepest = problem.ladders.deepest();
        survivor
            .genome
            .fit(problem.shape.blocks, deepest)
            .map_err(ProblemError::Genome)?;
        let mut search = Search::at(problem, generation, digest, survivor);
        for (id, outcome) in outcomes {
            search.tell(id, outcome)?;
        }
        Ok(search)
    }
}
