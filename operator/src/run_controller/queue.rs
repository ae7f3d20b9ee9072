//! Kueue, as far as a run's Jobs meet it: what tells it their queue, and what it says of them. Pure.

use std::collections::BTreeMap;

use darwinlm_api::conditions::Stall;
use serde_json::Value;

use super::observed::Waiting;

/// Label of a Job: the local queue that it waits in. Kueue then owns its `suspend` and `parallelism`.
pub const LABEL: &str = "kueue.x-k8s.io/queue-name";
/// Label of a Job: its workload priority class.
pub const LABEL_PRIORITY: &str = "kueue.x-k8s.io/priority-class";
/// Annotation of a Job: with how few workers it may start.
pub const ANNOTATION_LEAST: &str = "kueue.x-k8s.io/job-min-parallelism";
/// Label of Kueue's Workload: the UID of the Job that it stands for.
pub const LABEL_JOB: &str = "kueue.x-k8s.io/job-uid";

/// Where the Jobs of a run wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Name of the local queue.
    pub name: String,
    /// Name of the workload priority class; `None` is the queue's default.
    pub priority_class: Option<String>,
}

impl Queue {
    /// The labels that put a Job into it.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let priority = self.priority_class.iter();
        [(LABEL, &self.name)]
            .into_iter()
            .chain(priority.map(|class| (LABEL_PRIORITY, class)))
            .map(|(label, value)| (label.to_owned(), value.clone()))
            .collect()
    }
}

/// What was heard when Kueue was asked about a Job.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Its Workload, as JSON.
    Workload(Value),
    /// There is no Workload for the Job.
    Nothing {
        /// Whether the Job has just been made, so that there need not be one yet.
        is_new: bool,
    },
    /// This operator may not look at Workloads.
    Forbidden,
    /// The cluster has no Workloads.
    NotInstalled,
    /// The API server did not answer.
    NoAnswer,
}

/// Why a Job waits in its queue, with what helps. It never fails for that.
pub fn waiting(job: &str, queue: &str, said: &Said) -> Waiting {
    let why = match said {
        Said::Workload(workload) => {
            let name = text(&workload["metadata"]["name"]);
            let why = words(workload);
            let why = why.unwrap_or_else(|| "Kueue has not looked at it yet".to_owned());
            format!("{why} (kubectl describe workload {name})")
        }
        Said::Nothing { is_new: true } => "Kueue has not seen it yet".to_owned(),
        Said::Nothing { is_new: false } => {
            "Kueue has made no Workload for it: see that Kueue runs, that batch/job is among its \
             integrations and that it manages this namespace, or leave spec.queueName out"
                .to_owned()
        }
        Said::Forbidden => {
            "the operator may not ask Kueue why; kubectl get workloads tells, and so does this \
             message where the chart is installed with kueue.enabled=true"
                .to_owned()
        }
        Said::NotInstalled => {
            "this cluster serves no workloads.kueue.x-k8s.io of version v1beta2: install Kueue 0.15 \
             or newer, or leave spec.queueName out"
                .to_owned()
        }
        Said::NoAnswer => "Kueue's Workloads could not be listed".to_owned(),
    };
    let stall = match said {
        Said::Workload(_) | Said::Nothing { is_new: true } => Stall::Queued,
        Said::Nothing { is_new: false } | Said::Forbidden | Said::NotInstalled | Said::NoAnswer => {
            Stall::QueueSilent
        }
    };
    Waiting {
        stall,
        words: format!(
            "Job {job} waits in queue {queue:?}: {}",
            super::said::said(&why)
        ),
    }
}

/// Kueue's own words: why it was evicted if it was, and what it lacks now.
fn words(workload: &Value) -> Option<String> {
    if workload["spec"]["active"] == Value::Bool(false) {
        return Some("its Workload is deactivated; set its spec.active to true".to_owned());
    }
    let condition = |type_: &str, status: &str| {
        let conditions = workload["status"]["conditions"].as_array()?;
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == type_ && condition["status"] == status)?;
        let message = text(&found["message"]);
        Some(if message.is_empty() {
            text(&found["reason"])
        } else {
            message
        })
    };
    let evicted = condition("Evicted", "True");
    let lacks = condition("QuotaReserved", "False").or_else(|| condition("Admitted", "False"));
    match (evicted, lacks) {
        (Some(evicted), Some(lacks)) if evicted != lacks => Some(format!("{evicted}; {lacks}")),
        (evicted, lacks) => evicted.or(lacks),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(workload: Value) -> String {
        let waiting = waiting("tiny-search-g0-a1", "gpus", &Said::Workload(workload));
        assert_eq!(waiting.stall, Stall::Queued);
        waiting.words
    }

    #[test]
    fn a_job_that_waits_is_told_in_kueues_words() {
        let lacks = json!({"type": "QuotaReserved", "status": "False", "reason": "Pending",
            "message": "couldn't assign flavors to pod set main: insufficient unused quota"});
        let name = json!({"name": "job-tiny-1"});
        assert_eq!(
            told(json!({"metadata": name, "status": {"conditions": [lacks]}})),
            "Job tiny-search-g0-a1 waits in queue \"gpus\": couldn't assign flavors to pod set main: \
             insufficient unused quota (kubectl describe workload job-tiny-1)"
        );
        let evicted = json!({"type": "Evicted", "status": "True", "reason": "Preempted",
            "message": "Preempted to accommodate a workload"});
        let both = told(json!({"metadata": name, "status": {"conditions": [lacks, evicted]}}));
        assert!(
            both.contains("Preempted to accommodate a workload; couldn't"),
            "{both}"
        );
        let stopped = told(json!({"metadata": name, "spec": {"active": false}}));
        assert!(stopped.contains("deactivated"), "{stopped}");
        let new = told(json!({"metadata": name}));
        assert!(new.contains("has not looked at it yet"), "{new}");
    }

    #[test]
    fn what_stands_in_the_way_of_knowing_is_told_with_what_helps() {
        for (said, words) in [
            (Said::Nothing { is_new: true }, "has not seen it yet"),
            (Said::Nothing { is_new: false }, "manages this namespace"),
            (Said::Forbidden, "kueue.enabled=true"),
            (Said::NotInstalled, "install Kueue"),
            (Said::NoAnswer, "could not be listed"),
        ] {
            let message = waiting("j", "q", &said).words;
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_queue_without_a_priority_class_sets_one_label() {
        let mut queue = Queue {
            name: "gpus".to_owned(),
            priority_class: None,
        };
        assert_eq!(
            queue.labels(),
            [(LABEL.to_owned(), "gpus".to_owned())].into()
        );
        queue.priority_class = Some("research".to_owned());
        assert_eq!(queue.labels()[LABEL_PRIORITY], "research");
    }
}
