//! Names and labels of what belongs to a run.

use std::collections::BTreeMap;
use std::fmt;

use darwinlm_task::TaskKind;

/// Label: the run that a Job or pod belongs to.
pub const LABEL_RUN: &str = "darwinlm.io/run";
/// Label: the task that a Job or pod works on.
pub const LABEL_TASK: &str = "darwinlm.io/task";
/// Label: the attempt at that task, counted from 1.
pub const LABEL_ATTEMPT: &str = "darwinlm.io/attempt";
/// Label of search Jobs alone: the generation that the Job starts with.
pub const LABEL_FIRST_GENERATION: &str = "darwinlm.io/first-generation";
/// Annotation of a Job that this operator has suspended, and may resume.
pub const ANNOTATION_SUSPENDED: &str = "darwinlm.io/suspended";
/// Annotation of a run: GPU seconds that it is expected to take. Said by `darwinlm plan`.
pub const ANNOTATION_FORECAST: &str = "darwinlm.io/forecast-gpu-seconds";
/// Value of `app.kubernetes.io/name` on everything of ours.
pub const APP_NAME: &str = "darwinlm";
/// Value of `app.kubernetes.io/managed-by`, and the field manager of every apply.
pub const MANAGER: &str = "darwinlm-operator";
/// A run's name is at most this long, so that a Job's name fits into a label (63).
pub const LONGEST_RUN_NAME: usize = 40;

/// Which Job of a run this is. A run never has two live Jobs of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// The task.
    pub task: TaskKind,
    /// Generations in the ledger when the Job was made; 0 for every task but `search`.
    pub first_generation: u32,
    /// The attempt, counted from 1.
    pub attempt: u32,
}

impl JobKey {
    /// The name of this Job of a run: `<run>-<task>[-g<first generation>]-a<attempt>`.
    pub fn job_name(&self, run: &str) -> String {
        format!("{run}-{self}")
    }

    /// The labels of this Job of a run, and of its pods.
    pub fn labels(&self, run: &str) -> BTreeMap<String, String> {
        let mut labels = run_labels(run);
        let mut add = |key: &str, value: String| labels.insert(key.to_owned(), value);
        add(LABEL_TASK, self.task.name().to_owned());
        add(LABEL_ATTEMPT, self.attempt.to_string());
        add("app.kubernetes.io/component", self.task.name().to_owned());
        if self.task == TaskKind::Search {
            add(LABEL_FIRST_GENERATION, self.first_generation.to_string());
        }
        labels
    }

    /// Reads a Job's labels back; `None` when they are not those of a Job of ours.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        let task = TaskKind::ALL
            .into_iter()
            .find(|kind| labels.get(LABEL_TASK) == Some(&kind.name().to_owned()))?;
        let first_generation = match task {
            TaskKind::Search => labels.get(LABEL_FIRST_GENERATION)?.parse().ok()?,
            TaskKind::Prepare
            | TaskKind::Measure
            | TaskKind::BuildDatabase
            | TaskKind::PostTrain
            | TaskKind::Evaluate
            | TaskKind::Export
            | TaskKind::CleanUp => 0,
        };
        let attempt = labels.get(LABEL_ATTEMPT)?.parse().ok()?;
        Some(Self {
            task,
            first_generation,
            attempt,
        })
    }
}

/// What a Job's name adds to its run's.
impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.task)?;
        if self.task == TaskKind::Search {
            write!(f, "-g{}", self.first_generation)?;
        }
        write!(f, "-a{}", self.attempt)
    }
}

/// The labels of everything that belongs to a run.
pub fn run_labels(run: &str) -> BTreeMap<String, String> {
    [
        (LABEL_RUN, run),
        ("app.kubernetes.io/name", APP_NAME),
        ("app.kubernetes.io/instance", run),
        ("app.kubernetes.io/managed-by", MANAGER),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_name_says_run_task_generation_and_attempt() {
        let search = JobKey {
            task: TaskKind::Search,
            first_generation: 25,
            attempt: 2,
        };
        assert_eq!(search.job_name("llama"), "llama-search-g25-a2");
        let build = JobKey {
            task: TaskKind::BuildDatabase,
            first_generation: 0,
            attempt: 1,
        };
        assert_eq!(build.job_name("llama"), "llama-build-database-a1");
    }

    #[test]
    fn the_longest_name_fits_into_a_label() {
        let run = "r".repeat(LONGEST_RUN_NAME);
        for task in TaskKind::ALL {
            let key = JobKey {
                task,
                first_generation: 100_000,
                attempt: 3,
            };
            assert!(key.job_name(&run).len() <= 63, "{}", key.job_name(&run));
        }
    }

    #[test]
    fn labels_read_back_as_the_key_they_were_made_of() {
        for task in TaskKind::ALL {
            let first_generation = if task == TaskKind::Search { 7 } else { 0 };
            let key = JobKey {
                task,
                first_generation,
                attempt: 3,
            };
            assert_eq!(JobKey::from_labels(&key.labels("llama")), Some(key));
        }
        assert_eq!(JobKey::from_labels(&run_labels("llama")), None);
    }
}
