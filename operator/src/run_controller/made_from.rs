//! What a Job was made from: a digest of each field that may change until its task's first Job.

use std::collections::BTreeMap;

use darwinlm_api::PruningRunSpec;
use darwinlm_search::Digest;
use darwinlm_task::TaskKind;
use serde::Serialize;

/// Annotation of a Job: what it was made from, as JSON.
///
/// A field that is added to the API with a default changes the digest of what holds it. Then this
/// needs another name, so that no run at work is told that its spec has changed.
pub const ANNOTATION: &str = "darwinlm.io/made-from";

/// A field that may change until the first Job of its task exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// How worker pods look.
    Worker,
    /// The queue and the priority in it.
    QueueName,
    /// How the survivor is trained.
    PostTraining,
    /// What is measured.
    Evaluation,
    /// Where the survivor goes.
    Export,
}

impl Field {
    /// Every such field.
    pub const ALL: [Self; 5] = [
        Self::Worker,
        Self::QueueName,
        Self::PostTraining,
        Self::Evaluation,
        Self::Export,
    ];

    /// Its name in the spec.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::QueueName => "queueName",
            Self::PostTraining => "postTraining",
            Self::Evaluation => "evaluation",
            Self::Export => "export",
        }
    }

    /// Whether Jobs of a task are made from it.
    pub const fn shapes(self, task: TaskKind) -> bool {
        match self {
            Self::Worker | Self::QueueName => true,
            // the tasks after it name the weights that it leaves
            Self::PostTraining => matches!(
                task,
                TaskKind::PostTrain | TaskKind::Evaluate | TaskKind::Export
            ),
            Self::Evaluation => matches!(task, TaskKind::Evaluate),
            Self::Export => matches!(task, TaskKind::Export),
        }
    }
}

/// A digest of each field that something was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeFrom(BTreeMap<Field, String>);

impl MadeFrom {
    /// Every field of a spec, as it stands.
    pub fn spec(spec: &PruningRunSpec) -> Self {
        let of = |field| match field {
            Field::Worker => digest(&spec.worker),
            Field::QueueName => digest(&(&spec.queue_name, &spec.queue_priority_class)),
            Field::PostTraining => digest(&spec.post_training),
            Field::Evaluation => digest(&spec.evaluation),
            Field::Export => digest(&spec.export),
        };
        Self(Field::ALL.map(|field| (field, of(field))).into())
    }

    /// What Jobs of one task are made from.
    pub fn of_task(&self, task: TaskKind) -> Self {
        let mut own = self.clone();
        own.0.retain(|field, _| field.shapes(task));
        own
    }

    /// The digest of a field.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.0.get(&field).map(String::as_str)
    }

    /// The text of the [`ANNOTATION`].
    pub fn to_annotation(&self) -> String {
        let named: BTreeMap<_, _> = self
            .0
            .iter()
            .map(|(field, of)| (field.name(), of))
            .collect();
        serde_json::to_string(&named).expect("names and digests are JSON")
    }

    /// Reads the annotation of a Job; what is not there or not known counts for nothing.
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Self {
        let named: BTreeMap<String, String> = annotations
            .get(ANNOTATION)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let known = Field::ALL
            .into_iter()
            .filter_map(|field| Some((field, named.get(field.name())?.clone())));
        Self(known.collect())
    }
}

/// Fields are written in the order of their declaration, maps in that of their keys.
fn digest(value: &impl Serialize) -> String {
    let text = serde_json::to_vec(value).expect("a spec holds only strings, numbers and lists");
    Digest::of(&text).to_string()
}

#[cfg(test)]
mod tests {
    use darwinlm_api::PruningRun;

    use super::*;

    const RUN: &str = include_str!("../../tests/fixtures/cluster-run.yaml");

    fn made_from(yaml: &str) -> MadeFrom {
        let run: PruningRun = serde_saphyr::from_str(yaml).unwrap();
        MadeFrom::spec(&run.spec)
    }

    #[test]
    fn a_field_that_changes_changes_its_own_digest_alone() {
        let old = made_from(RUN);
        for (from, to, changed) in [
            ("pool: gpu", "pool: other", Some(Field::Worker)),
            (
                "evaluation: {}",
                "evaluation: {tasks: [sciq]}",
                Some(Field::Evaluation),
            ),
            ("  evaluation: {}\n", "", Some(Field::Evaluation)),
            (
                "postTraining: {tokens: 1048576}",
                "postTraining: {tokens: 1048577}",
                Some(Field::PostTraining),
            ),
            (
                "pvc://exports/smollm2",
                "pvc://exports/b",
                Some(Field::Export),
            ),
            (
                "  evaluation: {}\n",
                "  evaluation: {}\n  queueName: q\n",
                Some(Field::QueueName),
            ),
            (
                "    workers: 4\n",
                "    workers: 5\n    generationsPerJob: 1\n",
                None,
            ),
            (
                "  evaluation: {}\n",
                "  evaluation: {}\n  suspend: true\n",
                None,
            ),
        ] {
            assert!(RUN.contains(from), "{from}");
            let new = made_from(&RUN.replacen(from, to, 1));
            for field in Field::ALL {
                assert_eq!(
                    old.get(field) != new.get(field),
                    changed == Some(field),
                    "{to}: {field:?}"
                );
            }
        }
    }

    #[test]
    fn an_annotation_reads_back_as_what_it_was_made_of() {
        for task in TaskKind::ALL {
            let own = made_from(RUN).of_task(task);
            let annotations = [(ANNOTATION.to_owned(), own.to_annotation())].into();
            assert_eq!(MadeFrom::from_annotations(&annotations), own);
            assert_eq!(own.get(Field::Export).is_some(), task == TaskKind::Export);
        }
    }

    #[test]
    fn what_cannot_be_read_counts_for_nothing() {
        for text in ["", "[]", "{\"worker\": 3}", "{\"later\": \"sha256:00\"}"] {
            let annotations = [(ANNOTATION.to_owned(), text.to_owned())].into();
            assert_eq!(
                MadeFrom::from_annotations(&annotations),
                MadeFrom::default()
            );
        }
        assert_eq!(
            MadeFrom::from_annotations(&BTreeMap::new()),
            MadeFrom::default()
        );
    }
}
