//! How a run stands by its store, as a picture. Pure.

use darwinlm_search::{Fitness, GenerationEntry, ModuleKind, Outcome, PerKind};
use darwinlm_store::{WorkerFile, sum_workers};
use darwinlm_task::TaskKind;

use super::super::duration::said_seconds;
use super::super::picture::{
    Cell, Curve, Levels, Link, Mark, Picture, Row, bar, of_generations, shares,
};
use super::stand::{OpenStep, Searched, Seen, Stand};
use super::words::words;
use darwinlm_report::grouped;

/// Workers that are named.
const NAMED: usize = 3;

/// What is drawn.
pub(super) fn picture(stand: &Stand<'_>) -> Picture {
    let run = stand.run;
    let mut picture = Picture {
        title: format!("PruningRun {}/{}", run.namespace, run.name),
        chain: chain(stand),
        facts: facts(stand),
        words: words(stand),
        ..Picture::default()
    };
    if let Some(search) = &stand.search {
        picture.title = format!("{}  {}", picture.title, search.digest);
        picture.grid = grid(search);
        picture.curve = curve(search);
        picture.levels = Some(levels(search));
    }
    picture
}

/// The tasks, as far as they left anything. Whether one that left nothing is asked for, only the spec says.
fn chain(stand: &Stand<'_>) -> Vec<Link> {
    let at_work = stand.task();
    let failed = stand.failed().map(|(task, _, _)| task);
    let link = |task: TaskKind, is_done: bool, is_next: bool| {
        let mark = match (is_done, failed == Some(task)) {
            (true, _) => Mark::Done,
            (false, true) => Mark::Failed,
            (false, false) if is_next || at_work == Some(task) => Mark::AtWork,
            (false, false) => Mark::Later,
        };
        let mut link = Link::new(task, mark);
        if mark == Mark::AtWork {
            link.note = progress(stand, task).unwrap_or_default();
        }
        link
    };
    let (is_prepared, is_ready) = (stand.is_prepared, stand.is_database_ready);
    let mut chain = vec![link(TaskKind::Prepare, is_prepared, true)];
    if stand.is_measured || at_work == Some(TaskKind::Measure) {
        chain.push(link(TaskKind::Measure, stand.is_measured, false));
    }
    chain.push(link(TaskKind::BuildDatabase, is_ready, is_prepared));
    chain.push(link(TaskKind::Search, stand.is_searched(), is_ready));
    let is_at = |task| at_work == Some(task) || failed == Some(task);
    if stand.training.is_some() || is_at(TaskKind::PostTrain) {
        let is_done = stand.training.is_some_and(|training| training.is_done);
        chain.push(link(TaskKind::PostTrain, is_done, false));
    }
    if stand.is_evaluated || is_at(TaskKind::Evaluate) {
        chain.push(link(TaskKind::Evaluate, stand.is_evaluated, false));
    }
    let words = stand.last_words();
    let is_exported = words.is_some_and(|words| words.export.is_some());
    if is_exported || is_at(TaskKind::Export) {
        chain.push(link(TaskKind::Export, is_exported, false));
    }
    chain
}

/// What a worker on this machine says of its task.
fn progress(stand: &Stand<'_>, task: TaskKind) -> Option<String> {
    let live = stand.here.as_ref()?.live.iter();
    let said = live.filter(|said| said.task == task);
    let progress = said.filter_map(|said| said.progress.as_ref()).next()?;
    Some(format!(
        "{}/{} {}",
        progress.done, progress.total, progress.unit
    ))
}

/// Names and what is said under them.
fn facts(stand: &Stand<'_>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(search) = &stand.search {
        facts.extend(searched(search, stand.is_at_work()));
    }
    let task = stand.task().filter(|_| stand.is_at_work());
    if !stand.workers.is_empty() {
        facts.push(("workers", workers(stand)));
        let files: Vec<WorkerFile> = stand.workers.iter().map(|seen| seen.file.clone()).collect();
        let sum = sum_workers(&files, task);
        let causes = [
            ("useful", sum.useful),
            ("starting", sum.starting),
            ("waiting", sum.waiting),
            ("lost", sum.lost),
        ]
        .map(|(name, seconds)| (name, i64::try_from(seconds).unwrap_or(i64::MAX)));
        let all = causes.iter().map(|(_, seconds)| seconds).sum();
        let words = format!("{}: {}", said_seconds(all), shares(&causes));
        facts.push(("device time", words));
    }
    facts
}

fn searched(search: &Searched<'_>, is_at_work: bool) -> Vec<(&'static str, String)> {
    let (done, asked) = (search.generations.len(), search.problem.generations);
    let done = u32::try_from(done).unwrap_or(u32::MAX);
    let mut generations = format!("{} {done} of {asked}", bar(done.into(), asked.into()));
    let left = of_generations(&search.closed).left(asked.saturating_sub(done));
    if let Some(left) = left.filter(|_| is_at_work) {
        generations += &format!(", about {} left", said_seconds(left));
    }
    let failed = |entry: &GenerationEntry| {
        let outcomes = entry.trials().map(|(_, _, outcome)| outcome);
        outcomes
            .filter(|outcome| outcome.fitness().is_none())
            .count()
    };
    let all: usize = search
        .generations
        .iter()
        .map(|one| one.trials().count())
        .sum();
    let failed: usize = search.generations.iter().map(failed).sum();
    let trials = format!(
        "{} done, {failed} failed, {} repeated",
        grouped((all - failed) as u64),
        search.repeated
    );
    let mut facts = vec![("generations", generations), ("trials", trials)];
    if let Some(last) = search.generations.last() {
        let survivor = &last.survivor;
        let kl = search.validation.get(&survivor.born_in_generation);
        let kl = kl.map_or_else(String::new, |kl| format!(", KL {kl:.4}"));
        let fitness = survivor.fitness.map_or(f64::NAN, Fitness::get);
        let words = format!(
            "{} parameters, fitness {fitness:.4}{kl}, generation {}",
            grouped(survivor.parameters),
            survivor.born_in_generation
        );
        facts.push(("survivor", words));
    }
    facts
}

/// Who is alive, by the accounts; how long the others are silent.
fn workers(stand: &Stand<'_>) -> String {
    let task = stand.task();
    let of_task = |seen: &&Seen| seen.file.task == task;
    // Who ended with the task before may still look alive.
    let mut alive: Vec<&Seen> = stand.alive().filter(of_task).collect();
    if !stand.is_at_work() || alive.is_empty() {
        let newest = stand.workers.iter().map(|seen| seen.age_seconds).min();
        let silent = said_seconds(newest.unwrap_or_default());
        return format!(
            "none alive; the last of {} wrote {silent} ago",
            stand.workers.len()
        );
    }
    alive.sort_by_key(|seen| seen.age_seconds);
    let names: Vec<_> = alive
        .iter()
        .take(NAMED)
        .map(|seen| {
            format!(
                "{} ({} ago)",
                seen.file.worker,
                said_seconds(seen.age_seconds)
            )
        })
        .collect();
    let more = match alive.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} alive: {}{more}", alive.len(), names.join(", "))
}

/// Generations, the open one first.
fn grid(search: &Searched<'_>) -> Vec<Row> {
    let steps = search.problem.steps.steps();
    let closed = search.generations.iter().rev().map(|entry| {
        let cells = entry.steps.iter().zip(steps).map(|(step, asked)| {
            let outcomes: Vec<_> = step.trials.iter().map(|trial| trial.outcome).collect();
            Cell::Closed {
                all: outcomes.len(),
                left: (asked.survivors as usize).min(outcomes.len()),
                failed: failed(&outcomes),
                best: best(&outcomes),
            }
        });
        Row {
            generation: entry.generation,
            cells: cells.collect(),
        }
    });
    let mut rows: Vec<Row> = closed.collect();
    if !search.open.is_empty() {
        let begun = search.open.iter().map(|step| {
            let OpenStep { all, outcomes } = step;
            Cell::Open {
                all: *all,
                done: outcomes.len(),
                failed: failed(outcomes),
                best: best(outcomes),
            }
        });
        let later = steps.len().saturating_sub(search.open.len());
        let cells = begun.chain(std::iter::repeat_n(Cell::Later, later));
        let generation = rows.first().map_or(0, |row| row.generation) + 1;
        let cells = cells.collect();
        rows.insert(0, Row { generation, cells });
    }
    rows
}

fn failed(outcomes: &[Outcome]) -> usize {
    let failed = |outcome: &&Outcome| outcome.fitness().is_none();
    outcomes.iter().filter(failed).count()
}

fn best(outcomes: &[Outcome]) -> Option<f64> {
    let finite = outcomes.iter().filter_map(|outcome| outcome.fitness());
    finite.min().map(Fitness::get)
}

/// The survivors' validation from the start on; their fitness where no worker validates.
fn curve(search: &Searched<'_>) -> Option<Curve> {
    let kl = |born: u32| search.validation.get(&born).copied();
    let survivors = || search.generations.iter().map(|entry| &entry.survivor);
    let validated = survivors().map(|one| kl(one.born_in_generation));
    let validated: Vec<_> = std::iter::once(kl(0)).chain(validated).collect();
    let fitness = survivors().map(|one| one.fitness.map(Fitness::get));
    Curve::of("validation", &validated)
        .or_else(|| Curve::of("fitness", &fitness.collect::<Vec<_>>()))
}

fn levels(search: &Searched<'_>) -> Levels {
    let problem = search.problem;
    let last = search.generations.last();
    let genome = last.map_or(&problem.start, |last| &last.survivor.genome);
    let PerKind { attention, mlp } = PerKind::<String>::from(genome.clone());
    let deepest = problem.ladders.deepest();
    Levels {
        attention,
        mlp,
        deepest: ModuleKind::ALL.map(|kind| u32::from(deepest[kind].get())),
    }
}
