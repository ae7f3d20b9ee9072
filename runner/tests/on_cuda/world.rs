//! A run of a tiny model in this process: its store, and its tasks on one device or the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use darwinlm_runner::command::do_task;
use darwinlm_runner::tokens::Sequences;
use darwinlm_task::{DeviceRequest, ExitCode, RunIdentity, TaskReport, TaskSpec, VERSION};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A run of its own, planned for one device and worked on by another.
pub(crate) struct World {
    folder: TempDir,
    runtime: Runtime,
    model: &'static str,
    unit: &'static str,
    /// Tokens of a sequence.
    length: u32,
}

impl World {
    /// A run of a fixture, `unit` being its unit of attention.
    pub(crate) fn new(model: &'static str, unit: &'static str) -> Self {
        Self::of_length(model, unit, 16)
    }

    /// The same with sequences of another length.
    pub(crate) fn of_length(model: &'static str, unit: &'static str, length: u32) -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            runtime: Runtime::new().unwrap(),
            model,
            unit,
            length,
        };
        std::fs::create_dir(world.path("cache")).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let ids = (0..200 * length).map(|_| (random.next_u32() % 96) as i32);
        let stream: Vec<i32> = ids.collect();
        let tokens = world.path("tokens.safetensors");
        Sequences::pack(&stream, length).write(&tokens).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Does a task of the run on a device.
    pub(crate) fn work(&self, device: DeviceRequest, task: &Value) -> (ExitCode, TaskReport) {
        let spec = json!({
            "version": VERSION,
            "run": RunIdentity { namespace: "local".into(), name: "tiny".into(), uid: "uid".into() },
            "store": self.url("store"),
            "device": device,
            "task": task,
        });
        let spec = TaskSpec::from_json(&spec.to_string()).unwrap();
        let cache = self.path("cache");
        self.runtime.block_on(do_task(spec, "worker-0", &cache))
    }

    /// The same for a task that has to succeed.
    pub(crate) fn finish(&self, device: DeviceRequest, task: &Value) -> TaskReport {
        let (code, report) = self.work(device, task);
        assert_eq!(code, ExitCode::Done, "{:?}", report.outcome);
        report
    }

    /// Every file of the store below a folder, by its name.
    pub(crate) fn files(&self, below: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.path(below), "", &mut found);
        found
    }

    pub(crate) fn prepare(&self) -> Value {
        let slice = |tokens: u64| json!({"source": null, "tokens": tokens});
        json!({
            "kind": "prepare", "model": format!("file://{}", fixture(self.model).display()),
            "threads": 1, "pruning": self.pruning(), "target": {"sparsityPercent": 20},
            "data": {
                "sequenceLength": self.length,
                "calibration": {
                    "source": {"url": self.url("tokens.safetensors"), "textField": "text"},
                    "tokens": 256,
                },
                "training": slice(1024), "fitness": slice(256), "validation": slice(128),
            },
            "searchDigest": "sha256:0",
        })
    }

    pub(crate) fn measure(&self) -> Value {
        json!({"kind": "measure", "pruning": self.pruning(), "target": {"speedupPercent": 105}})
    }

    pub(crate) fn build_database(&self) -> Value {
        json!({"kind": "build-database", "pruning": self.pruning(), "workers": 1})
    }

    pub(crate) fn search(&self, until: u32) -> Value {
        json!({
            "kind": "search", "pruning": self.pruning(), "target": {"sparsityPercent": 20},
            "settings": settings(), "untilGeneration": until, "budgetGpuSeconds": null,
        })
    }

    pub(crate) fn post_train(&self) -> Value {
        json!({
            "kind": "post-train", "pruning": self.pruning(), "target": {"sparsityPercent": 20},
            "settings": settings(), "training": self.training(),
        })
    }

    pub(crate) fn evaluate(&self) -> Value {
        json!({
            "kind": "evaluate", "pruning": self.pruning(), "target": {"sparsityPercent": 20},
            "settings": settings(), "training": self.training(), "evaluation": {},
        })
    }

    pub(crate) fn export(&self) -> Value {
        json!({
            "kind": "export", "pruning": self.pruning(), "target": {"sparsityPercent": 20},
            "settings": settings(), "training": self.training(),
            "export": {
                "destination": self.url("out"), "formats": ["Transformers", "MaskedDense"],
                "queryHeadLayout": "Gather",
            },
        })
    }

    fn pruning(&self) -> Value {
        json!({
            "levels": 5, "spacing": "Parameters", "mlpGranularity": 8,
            "attentionUnit": self.unit, "dampingPermille": 10,
        })
    }

    /// Steps of two sequences, half of the loss being distillation.
    fn training(&self) -> Value {
        json!({
            "tokens": 320, "sequenceLength": self.length, "batchSequences": 2,
            "learningRate": "1e-3", "warmupPercent": 10, "finalLearningRatePercent": 10,
            "weightDecay": "0.01", "gradientNorm": "1.0", "distillationPercent": 50,
            "checkpointEveryTokens": 160,
        })
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }
}

pub(crate) fn settings() -> Value {
    json!({
        "seed": 0, "generations": 3, "offspring": 4, "exchange": "WithinKind",
        "fitness": "KullbackLeibler", "continueTraining": false,
        "steps": [
            {"survivors": 2, "trainingTokens": 64, "fitnessTokens": 64},
            {"survivors": 1, "trainingTokens": 128, "fitnessTokens": 64},
        ],
        "optimizer": {"learningRate": "1e-3", "weightDecay": "0.01", "batchSequences": 2},
    })
}

pub(crate) fn fixture(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(model)
}

fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            collect(&path, &name, found);
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
}
