//! The budget: what it ends, and what raising it begins again.

use darwinlm_api::PruningRunStatus;
use darwinlm_api::conditions::{self, ConditionStatus, ConditionType, Reason};
use darwinlm_task::{Task, TaskKind};

use super::done_condition;
use crate::run_controller::validate::ValidatedRun;

/// The budget in words, if a search that has taken so much has spent it.
pub(super) fn spent(run: &ValidatedRun, gpu_seconds: u64) -> Option<String> {
    let budget = run.budget_gpu_seconds?;
    let hours = budget / 3600;
    (gpu_seconds >= budget).then(|| format!("the budget of {hours} GPU hours was"))
}

/// Opens a search again that a smaller budget had ended: what was made of its survivor is done with
/// another one. A run that has failed stays so.
pub(super) fn reopen(run: &ValidatedRun, status: &mut PruningRunStatus) {
    let known = |type_| conditions::get(&status.conditions, type_);
    let was_ended = known(ConditionType::SearchComplete).is_some_and(|search| {
        search.status == ConditionStatus::True.as_str()
            && search.reason == Reason::BudgetSpent.as_str()
    });
    let has_failed = known(ConditionType::Succeeded)
        .is_some_and(|succeeded| succeeded.status == ConditionStatus::False.as_str());
    let search = status.search.as_ref();
    let seconds = search.map_or(0, |search| search.spent_gpu_seconds.unsigned_abs());
    if !was_ended || has_failed || spent(run, seconds).is_some() {
        return;
    }
    let from_search_on = run.chain.iter().map(Task::kind);
    let from_search_on = from_search_on.skip_while(|task| *task != TaskKind::Search);
    let open: Vec<&str> = from_search_on
        .filter_map(|task| done_condition(task).map(ConditionType::as_str))
        .chain([ConditionType::Succeeded.as_str()])
        .collect();
    status
        .conditions
        .retain(|condition| !open.contains(&condition.type_.as_str()));
}

/// Whether a task comes after a search that is not done.
pub(super) fn is_early(task: TaskKind, status: &PruningRunStatus) -> bool {
    let needs_survivor = match task {
        TaskKind::Prepare
        | TaskKind::Measure
        | TaskKind::BuildDatabase
        | TaskKind::Search
        | TaskKind::CleanUp => false,
        TaskKind::PostTrain | TaskKind::Evaluate | TaskKind::Export => true,
    };
    needs_survivor && !conditions::is_true(&status.conditions, ConditionType::SearchComplete)
}
