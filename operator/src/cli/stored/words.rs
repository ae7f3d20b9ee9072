//! Whether a run moves, if not why, and what to do, as far as its store tells. Pure.

use darwinlm_task::TaskKind;

use super::super::duration::said_seconds;
use super::stand::{End, Stand};

/// The words, in lines: a title, what is known, and what to do.
pub(super) fn words(stand: &Stand<'_>) -> Vec<String> {
    let Said {
        title,
        known,
        remedy,
    } = said(stand);
    let mut lines = vec![title, format!("  {known}")];
    if let Some(remedy) = remedy {
        lines.extend(["What to do".to_owned(), format!("  {remedy}")]);
    }
    lines
}

struct Said {
    title: String,
    known: String,
    remedy: Option<String>,
}

impl Said {
    fn new(title: impl Into<String>, known: String, remedy: Option<String>) -> Self {
        let title = title.into();
        Self {
            title,
            known,
            remedy,
        }
    }
}

fn said(stand: &Stand<'_>) -> Said {
    if let Some((task, reason, message)) = stand.failed() {
        return Said::new(
            format!("It does not move: {reason}, in {task}"),
            message.to_owned(),
            Some(format!("put that right; then {}", go_on(stand))),
        );
    }
    if stand.is_evaluated && stand.ended() == Some(End::Succeeded) {
        let store = stand.store;
        return Said::new(
            "It rests: Finished",
            format!("the survivor was evaluated, {}", quiet(stand)),
            Some(format!(
                "`darwinlm report {store}` writes a page on what came out"
            )),
        );
    }
    if stand.is_at_work() {
        let task = stand.task().map_or("its next task", TaskKind::name);
        let here = stand.here.as_ref();
        let starting = here.filter(|here| here.live.is_empty() && here.starting > 0);
        let known = match starting {
            Some(_) => "its workers start".to_owned(),
            None => format!("workers are at {task}, {}", quiet(stand)),
        };
        return Said::new("It moves", known, None);
    }
    if stand.is_budget_spent() {
        return Said::new(
            "It rests: BudgetSpent",
            format!(
                "the search ended because the budget was spent, {}",
                quiet(stand)
            ),
            Some(format!("raise spec.budget; then {}", go_on(stand))),
        );
    }
    if stand.is_searched() {
        return Said::new(
            "It rests: Searched",
            format!(
                "all generations are there and nobody is at work, {}",
                quiet(stand)
            ),
            Some(format!(
                "if more was asked for than a search, {}",
                go_on(stand)
            )),
        );
    }
    let known = match stand.workers.is_empty() {
        true => format!("no worker has kept an account yet, {}", quiet(stand)),
        false => format!("no worker is alive, {}", quiet(stand)),
    };
    Said::new("It does not move: NoWorkers", known, Some(go_on(stand)))
}

/// How long ago anything was written.
fn quiet(stand: &Stand<'_>) -> String {
    stand.quiet_seconds().map_or_else(
        || "and nothing was written".to_owned(),
        |seconds| format!("last written {} ago", said_seconds(seconds)),
    )
}

/// What lets it go on.
fn go_on(stand: &Stand<'_>) -> String {
    let (store, run) = (stand.store, stand.run);
    match stand.is_local() {
        true => format!(
            "the command that began it goes on where it stands: `darwinlm run -f FILE … --store {store}`"
        ),
        false => format!(
            "ask its cluster why: `darwinlm explain {} -n {}`",
            run.name, run.namespace
        ),
    }
}

#[cfg(test)]
mod tests {
    use darwinlm_task::Outcome;

    use super::super::here::Here;
    use super::super::stand::tests::{run, seen, stand, words as last_words};
    use super::*;

    #[test]
    fn a_run_that_nobody_works_on_says_the_command_that_goes_on() {
        let run = run();
        let mut stand = stand(&run);
        stand.workers = vec![seen("search-g0-a1-w0", 600)];
        let told = words(&stand);
        assert_eq!(told[0], "It does not move: NoWorkers");
        assert_eq!(told[1], "  no worker is alive, last written 10 min 0 s ago");
        assert!(
            told[3].contains("darwinlm run -f FILE … --store ./store"),
            "{told:?}"
        );
        let mut run = run.clone();
        run.namespace = "research".to_owned();
        stand.run = &run;
        let told = words(&stand).join("\n");
        assert!(told.contains("darwinlm explain tiny -n research"), "{told}");
    }

    #[test]
    fn a_run_at_work_has_nothing_to_be_done_about() {
        let run = run();
        let mut stand = stand(&run);
        stand.workers = vec![seen("a", 2)];
        assert_eq!(
            words(&stand),
            [
                "It moves",
                "  workers are at search, last written 10 min 0 s ago"
            ]
        );
        let starting = Here {
            starting: 1,
            ..Here::default()
        };
        stand.here = Some(starting);
        assert_eq!(words(&stand), ["It moves", "  its workers start"]);
    }

    #[test]
    fn a_failure_and_a_spent_budget_are_told_with_their_remedy() {
        let run = run();
        let mut stand = stand(&run);
        stand.here = Some(last_words(
            TaskKind::Prepare,
            Outcome::Failed {
                code: 66,
                reason: "InputMissing".to_owned(),
                message: "spec.model.source: there is no config.json".to_owned(),
            },
        ));
        let told = words(&stand);
        assert_eq!(told[0], "It does not move: InputMissing, in prepare");
        assert_eq!(told[1], "  spec.model.source: there is no config.json");
        stand.here = Some(last_words(TaskKind::Search, Outcome::BudgetSpent));
        let told = words(&stand);
        assert_eq!(told[0], "It rests: BudgetSpent");
        assert!(
            told[3].starts_with("  raise spec.budget; then "),
            "{told:?}"
        );
    }
}
