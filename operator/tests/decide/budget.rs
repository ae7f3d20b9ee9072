//! Budgets, spent and raised.

use super::*;

/// The run with a budget, and a search that ended with it after two of six generations (two hours).
fn with_budget(hours: u64) -> ValidatedRun {
    ValidatedRun {
        budget_gpu_seconds: Some(hours * 3600),
        ..run()
    }
}

fn spent_after_two() -> ObservedJob {
    let mut job = job("search-g0-a1").complete().says_generation(2);
    if let Some(report) = &mut job.report {
        report.outcome = Outcome::BudgetSpent;
    }
    job
}

fn look(run: &ValidatedRun, status: &PruningRunStatus, jobs: Vec<ObservedJob>) -> Decision {
    let observed = Observed {
        jobs,
        status: status.clone(),
        ..Observed::default()
    };
    decide(run, &observed, at(1))
}

#[test]
fn a_spent_budget_ends_the_search_and_the_tasks_after_it_go_on() {
    let jobs = vec![prepared(), built(), spent_after_two()];
    let decision = look(&with_budget(2), &PruningRunStatus::default(), jobs);
    assert_eq!(
        line(&decision),
        "create post-train-a1 x1 | PostTraining | Progressing True Starting | Succeeded Unknown InProgress"
    );
    let search = get(&decision.status.conditions, ConditionType::SearchComplete);
    let search = search.expect("it is said");
    assert_eq!(
        (search.status.as_str(), search.reason.as_str()),
        ("True", "BudgetSpent")
    );
    assert_eq!(
        search.message,
        "the budget of 2 GPU hours was spent after 2 of 6 generations"
    );
    // The Jobs may go: the status remembers it.
    let later = look(&with_budget(1), &decision.status, vec![]);
    assert!(
        line(&later).starts_with("create post-train-a1"),
        "{}",
        line(&later)
    );
}

#[test]
fn a_job_that_ended_between_generations_is_the_last_one_once_the_budget_is_spent() {
    let ended = job("search-g0-a1")
        .complete()
        .says_done()
        .says_generation(2);
    let jobs = |job: &ObservedJob| vec![prepared(), built(), job.clone()];
    let new = PruningRunStatus::default();
    let rich = look(&with_budget(3), &new, jobs(&ended));
    assert!(
        line(&rich).starts_with("create search-g2-a1"),
        "{}",
        line(&rich)
    );
    let poor = look(&with_budget(2), &new, jobs(&ended));
    assert!(
        line(&poor).starts_with("create post-train-a1"),
        "{}",
        line(&poor)
    );
}

#[test]
fn a_raised_budget_starts_the_next_job_even_after_the_end() {
    let all = || {
        vec![
            prepared(),
            built(),
            spent_after_two(),
            trained(),
            evaluated(),
            job("export-a1").complete().says_done(),
        ]
    };
    let ended = look(&with_budget(2), &PruningRunStatus::default(), all());
    assert_eq!(ended.ended, Some(Ended::Succeeded));
    // Less, or more that is spent, too: nothing happens.
    for hours in [1, 2] {
        let still = look(&with_budget(hours), &ended.status, all());
        assert_eq!(
            (still.actions, still.ended),
            (vec![], Some(Ended::Succeeded))
        );
    }
    let raised = look(&with_budget(3), &ended.status, all());
    assert_eq!(
        line(&raised),
        "create search-g2-a1 x3, delete post-train-a1, delete evaluate-a1, delete export-a1 | Searching | \
         Progressing True Starting | Succeeded Unknown InProgress"
    );
    for task in [
        ConditionType::Trained,
        ConditionType::Evaluated,
        ConditionType::Exported,
    ] {
        assert!(!is_true(&raised.status.conditions, task), "{task}");
    }
    // Of a run that has ended no Job may be left.
    let raised = look(&with_budget(3), &ended.status, vec![]);
    assert!(
        line(&raised).starts_with("create search-g2-a1"),
        "{}",
        line(&raised)
    );
    let done = job("search-g2-a1")
        .complete()
        .says_done()
        .says_generation(6);
    let done = look(&with_budget(3), &raised.status, vec![done]);
    assert!(
        line(&done).starts_with("create post-train-a1"),
        "{}",
        line(&done)
    );
}

#[test]
fn a_task_at_work_on_the_survivor_of_a_search_that_goes_on_is_stopped_first() {
    let jobs = || {
        vec![
            prepared(),
            built(),
            spent_after_two(),
            job("post-train-a1").running(),
        ]
    };
    let working = look(&with_budget(2), &PruningRunStatus::default(), jobs());
    let raised = look(&with_budget(3), &working.status, jobs());
    let actions: Vec<_> = raised.actions.iter().map(given::phrase).collect();
    assert_eq!(actions, ["withdraw post-train-a1"]);
    let mut leaving = jobs();
    leaving[3].deleting = true;
    let waits = look(&with_budget(3), &raised.status, leaving);
    assert_eq!(waits.actions, []);
}

#[test]
fn a_budget_that_is_found_spent_any_number_of_times_is_no_failure() {
    let mut jobs = vec![prepared(), built(), spent_after_two()];
    for attempt in 1..=5 {
        let mut job = job(&format!("search-g2-a{attempt}"))
            .complete()
            .says_generation(2);
        if let Some(report) = &mut job.report {
            report.outcome = Outcome::BudgetSpent;
        }
        jobs.push(job);
        let raised = look(&with_budget(9), &PruningRunStatus::default(), jobs.clone());
        let next = format!("create search-g2-a{}", attempt + 1);
        assert!(line(&raised).starts_with(&next), "{}", line(&raised));
    }
}

#[test]
fn a_run_that_failed_after_its_budget_stays_failed() {
    let failed = job("post-train-a1")
        .failed()
        .says_failed(ExitCode::BadData, "bad");
    let jobs = vec![prepared(), built(), spent_after_two(), failed];
    let ended = look(&with_budget(2), &PruningRunStatus::default(), jobs.clone());
    assert!(matches!(ended.ended, Some(Ended::Failed { .. })));
    let raised = look(&with_budget(3), &ended.status, jobs);
    assert_eq!((raised.actions, raised.ended), (vec![], ended.ended));
}
