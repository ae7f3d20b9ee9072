//! Fields that were changed after the first Job of their task had been made.

use darwinlm_api::conditions::Reason;

use super::objection::Objection;
use super::step::Step;
use crate::run_controller::made_from::Field;
use crate::run_controller::observed::Observed;
use crate::run_controller::validate::ValidatedRun;

/// The first such field. Jobs that exist go on with what they were made from; another one is not
/// made from something else than the first.
pub(super) fn objection(
    run: &ValidatedRun,
    observed: &Observed,
    step: &Step<'_>,
) -> Option<Objection> {
    let mut jobs: Vec<_> = observed.jobs.iter().collect();
    jobs.sort_by_key(|job| job.key);
    Field::ALL.into_iter().find_map(|field| {
        let (first, old) = jobs
            .iter()
            .find_map(|job| Some((job.key, job.made_from.get(field)?)))?;
        if run.made_from.get(field) == Some(old) {
            return None;
        }
        let job = first.job_name(&run.identity.name);
        Some(Objection {
            reason: Reason::ChangedTooLate,
            message: format!(
                "spec.{} was changed after Job {job} had been made from it; what is at work goes on \
                 with the old value and nothing is started with the new one: put it back, or \
                 create another run",
                field.name()
            ),
            holds_back: match step {
                Step::Start(new) => field.shapes(new.key.task),
                Step::Watch(_)
                | Step::Rest(_)
                | Step::Hold(..)
                | Step::Await(..)
                | Step::Finish
                | Step::Fail(..) => {
                    false
                }
            },
        })
    })
}
