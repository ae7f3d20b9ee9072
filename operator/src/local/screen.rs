//! What a person sees of a run on this machine: a bar on a terminal, lines anywhere else.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use darwinlm_api::conditions::{ConditionType, get, stalled};
use darwinlm_api::{PruningRunStatus, Stage};
use darwinlm_report::grouped;
use darwinlm_task::Progress;
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use crate::run_controller::observed::{Observed, ObservedJob};
use crate::run_controller::validate::ValidatedRun;

/// A line about progress within a stage appears at most so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Standard error, as it is.
#[derive(Debug)]
pub enum Screen {
    /// A terminal: one line that changes.
    Bar {
        /// The line.
        bar: ProgressBar,
        /// Where the stage stood when it was first shown: a run that goes on begins in the middle.
        first: Arc<AtomicU64>,
    },
    /// A file or pipe: a line whenever something happened.
    Lines {
        /// What the last line was about.
        last: String,
        /// When it was written.
        at: Option<Instant>,
    },
}

impl Screen {
    /// Looks at what standard error is.
    pub fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines {
                last: String::new(),
                at: None,
            };
        }
        let bar = ProgressBar::new(1);
        let style = ProgressStyle::with_template(
            "{spinner} {prefix:<17} {bar:24} {pos}/{len} {msg} [{elapsed}{left}]",
        );
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let first = Arc::new(AtomicU64::new(0));
        let since = Arc::clone(&first);
        let show_left = move |state: &ProgressState, line: &mut dyn std::fmt::Write| {
            let total = state.len().unwrap_or_default();
            let first = since.load(Ordering::Relaxed);
            if let Some(rest) = left(state.elapsed(), first, state.pos(), total) {
                let _ = write!(line, ", {:#} left", HumanDuration(rest));
            }
        };
        bar.set_style(style.with_key("left", show_left));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::Bar { bar, first }
    }

    /// Says something that stays.
    pub fn say(&self, line: &str) {
        match self {
            Self::Bar { bar, .. } => bar.suspend(|| eprintln!("{line}")),
            Self::Lines { .. } => eprintln!("{line}"),
        }
    }

    /// Shows how the run is doing.
    pub fn show(&mut self, run: &ValidatedRun, status: &PruningRunStatus, observed: &Observed) {
        let live = observed.live_jobs().first().copied();
        let stage = status.stage.clone().unwrap_or_default();
        let within = live.and_then(|job| job.report.as_ref()?.progress.clone());
        let searching = stage == Stage::Searching.to_string();
        let generation = status
            .search
            .as_ref()
            .map_or(0, |search| search.generation.unsigned_abs());
        match self {
            Self::Bar { bar, first } => {
                let (done, total) = match (&within, searching) {
                    (_, true) => (u64::from(generation), u64::from(run.generations)),
                    (Some(progress), false) => (progress.done, progress.total),
                    (None, false) => (0, 1),
                };
                if bar.prefix() != stage {
                    bar.reset();
                    bar.set_prefix(stage);
                    first.store(done, Ordering::Relaxed);
                }
                bar.set_length(total);
                bar.set_position(done);
                // The bar itself counts what it is the bar of.
                let counted = within.as_ref().map(|progress| match searching {
                    true => format!("generations, {}", count_of(progress)),
                    false => progress.unit.clone(),
                });
                bar.set_message(details(status, live, counted, searching));
            }
            Self::Lines { last, at } => {
                let about = format!(
                    "{stage} {generation} {}",
                    warning(status).unwrap_or_default()
                );
                let is_new = *last != about;
                let is_time = at.is_none_or(|at| at.elapsed() >= LINE_EVERY);
                if is_new || (is_time && within.is_some()) {
                    *last = about;
                    *at = Some(Instant::now());
                    let generation = if searching {
                        format!(" generation {generation}/{}", run.generations)
                    } else {
                        String::new()
                    };
                    let counted = within.as_ref().map(count_of);
                    let details = details(status, live, counted, searching);
                    eprintln!(
                        "{}",
                        format!("{stage}:{generation} {details}").trim_end_matches([' ', ':'])
                    );
                }
            }
        }
    }

    /// Leaves the screen to whatever is printed next.
    pub fn finish(&self) {
        match self {
            Self::Bar { bar, .. } => bar.finish_and_clear(),
            Self::Lines { .. } => {}
        }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

/// How long a stage still takes if it goes on as on average since it was first shown. Steps take
/// minutes: an estimate from the last seconds would say hours between two of them.
fn left(elapsed: Duration, first: u64, done: u64, total: u64) -> Option<Duration> {
    let (made, rest) = (done.checked_sub(first)?, total.checked_sub(done)?);
    (made > 0 && rest > 0).then(|| elapsed.mul_f64(rest as f64 / made as f64))
}

fn count_of(Progress { done, total, unit }: &Progress) -> String {
    format!("{done}/{total} {unit}")
}

/// Everything beside stage and generation.
fn details(
    status: &PruningRunStatus,
    live: Option<&ObservedJob>,
    counted: Option<String>,
    searching: bool,
) -> String {
    let mut parts = Vec::new();
    parts.extend(counted);
    if let Some(survivor) = status
        .search
        .as_ref()
        .and_then(|search| search.survivor.as_ref())
        && searching
    {
        parts.push(format!("fitness {}", short(&survivor.fitness)));
        parts.push(format!(
            "{} parameters",
            grouped(survivor.parameters.unsigned_abs())
        ));
        let genome = &survivor.genome;
        parts.push(format!("attention {} mlp {}", genome.attention, genome.mlp));
    }
    if let Some(message) = warning(status) {
        parts.push(message);
    } else if let Some(job) = live.filter(|job| job.parallelism > 1 && !job.says_done()) {
        parts.push(format!("{} workers", job.parallelism));
    }
    parts.join(", ")
}

/// What is wrong with the spec as it stands now, else what the run waits for.
fn warning(status: &PruningRunStatus) -> Option<String> {
    let accepted = get(&status.conditions, ConditionType::Accepted);
    if let Some(accepted) = accepted.filter(|accepted| accepted.status == "False") {
        return Some(accepted.message.clone());
    }
    stalled(&status.conditions)?;
    let condition = get(&status.conditions, ConditionType::Progressing)?;
    // Remedies are those of a cluster.
    let words = condition.message.split(". Remedy: ").next()?;
    Some(words.to_owned())
}

fn short(number: &str) -> String {
    number
        .parse::<f64>()
        .map_or_else(|_| number.to_owned(), |number| format!("{number:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_what_was_made_since_the_stage_was_first_shown() {
        let minute = Duration::from_secs(60);
        assert_eq!(left(minute, 0, 2, 6), Some(2 * minute));
        assert_eq!(left(minute, 57, 58, 60), Some(2 * minute));
    }

    #[test]
    fn nothing_is_said_before_the_first_step_and_after_the_last() {
        let minute = Duration::from_secs(60);
        for (first, done, total) in [(0, 0, 6), (57, 57, 200), (0, 6, 6), (3, 0, 6), (0, 7, 6)] {
            assert_eq!(left(minute, first, done, total), None);
        }
    }
}
