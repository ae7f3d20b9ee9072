//! What every computing task opens: the device, the plan, the dense model, tokens and the database.

use std::path::{Path, PathBuf};

use darwinlm_search::{Ladder, Ladders, LatencyTable, ModuleKind, PerKind, Shape};
use darwinlm_store::{Folder, Store, open_folder};
use darwinlm_task::{
    DeviceClass, DeviceRequest, ExitCode, FailureReason, NumericsPlan, Plan, PruningSpec, Spacing,
    TokenSlice, paths,
};
use serde_json::json;
use tch::Device;
use tokio::task::block_in_place;

use super::context::{Context, store_failure};
use super::measure::Latency;
use super::prepare::digest_of;
use crate::database::{self, Database};
use crate::device;
use crate::failure::{Failure, OrFail};
use crate::fitness::Teacher;
use crate::model::DenseModel;
use crate::tokens::Sequences;

/// The device of a request, and its class.
///
/// # Errors
/// Exit code 78 when CUDA is asked for and does not work: nothing falls back silently.
pub(super) fn open_device(request: DeviceRequest) -> Result<(Device, DeviceClass), Failure> {
    let opened = device::open(request).map_err(|error| {
        let message = format!("spec.worker.device: {error}");
        Failure::because(
            ExitCode::BadSpec,
            FailureReason::DeviceUnusable.as_str(),
            message,
        )
    })?;
    if let Some(reason) = opened.why_not_cuda {
        tracing::info!(reason, "the CPU is used");
    }
    Ok((opened.device, opened.class))
}

/// A run as `prepare` left it, on this worker's device.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) device: Device,
    pub(super) device_class: DeviceClass,
    /// The run's table of latencies, where the task works from it.
    pub(super) latency: Option<Latency>,
    tokens: Folder,
}

impl Prepared {
    /// Reads the plan, and sets the device up as it says.
    pub(super) async fn open(context: &Context) -> Result<Self, Failure> {
        let key = context.paths.plan();
        let plan: Plan = context.store.get_json(&key).await.map_err(store_failure)?;
        // Tasks whose pods have no device only move weights.
        let computes = context.spec.task.kind().needs_device();
        let request = if computes {
            context.spec.device
        } else {
            DeviceRequest::Cpu
        };
        let (device, device_class) = open_device(request)?;
        if computes && device_class != plan.numerics.device_class {
            tracing::warn!(
                planned = ?plan.numerics.device_class, found = ?device_class,
                "This worker's device is of another class than the plan's; recorded fitness decides."
            );
        }
        if computes {
            context
                .metrics
                .computes_on(&device::name(device), plan.numerics.dtype);
        }
        device::set_threads(plan.numerics.threads);
        let tokens = complete(&context.store, &paths::tokens(&plan.tokens)).await?;
        let latency = match context.spec.task.reads_latency() {
            true => Some(Latency::read(&context.store, &context.paths).await?),
            false => None,
        };
        Ok(Self {
            plan,
            device,
            device_class,
            latency,
            tokens,
        })
    }

    /// The numerics plan.
    pub(super) fn numerics(&self) -> &NumericsPlan {
        &self.plan.numerics
    }

    /// A slice of the tokens, checked against its digest.
    pub(super) async fn sequences(
        &self,
        context: &Context,
        slice: TokenSlice,
        dense: &DenseModel,
    ) -> Result<Sequences, Failure> {
        let name = format!("{}.safetensors", slice.name());
        let path = self
            .tokens
            .fetch(&name, &context.cache)
            .await
            .map_err(store_failure)?;
        block_in_place(|| Sequences::open(&path, dense.config.vocabulary)).or_fail(
            ExitCode::BadData,
            format!("failed to read the {} tokens", slice.name()),
        )
    }

    /// The dense model, every file checked against its digest.
    pub(super) async fn dense(&self, context: &Context) -> Result<DenseModel, Failure> {
        let folder = self.model_folder(context).await?;
        let kind = device::kind(self.plan.numerics.dtype);
        block_in_place(|| DenseModel::open(&folder, kind, self.device))
            .or_fail(ExitCode::BadData, "failed to load the dense model")
    }

    /// A folder on this machine with the model's files under their own names.
    pub(super) async fn model_folder(&self, context: &Context) -> Result<PathBuf, Failure> {
        let Context {
            store,
            cache,
            worker,
            ..
        } = context;
        model_folder(store, &self.plan.model, cache, worker).await
    }

    /// The run's table of latencies, where the ladders are made from it.
    pub(super) fn spaced_by(&self, pruning: &PruningSpec) -> Option<&Latency> {
        let latency = self.latency.as_ref();
        latency.filter(|_| pruning.spacing.is_measured())
    }

    /// The digest that names the level database of this model, these calibration tokens and these
    /// numbers.
    pub(super) fn database_digest(&self, pruning: &PruningSpec) -> String {
        let mut made_from = json!({
            "version": database::FORMAT_VERSION,
            "model": self.plan.model,
            "calibration": self.plan.calibration.sha256,
            "pruning": pruning,
            "numerics": self.plan.numerics,
        });
        if let Some(latency) = self.spaced_by(pruning) {
            made_from["latencyTable"] = json!(latency.sha256);
        }
        digest_of(&made_from)
    }

    /// The digest that names the teacher states of this model over these slices.
    pub(super) fn teacher_digest(&self) -> String {
        digest_of(&json!({
            "version": database::FORMAT_VERSION,
            "model": self.plan.model,
            "fitness": self.plan.fitness.sha256,
            "validation": self.plan.validation.sha256,
            "numerics": self.plan.numerics,
        }))
    }

    /// The level database as it is stored: its manifest is read, its files are not.
    pub(super) async fn database_folder(
        &self,
        context: &Context,
        pruning: &PruningSpec,
    ) -> Result<Folder, Failure> {
        complete(
            &context.store,
            &paths::database(&self.database_digest(pruning)),
        )
        .await
    }

    /// The level database, complete and checked file by file.
    pub(super) async fn database(
        &self,
        context: &Context,
        pruning: &PruningSpec,
    ) -> Result<(Database, Folder), Failure> {
        let folder = self.database_folder(context, pruning).await?;
        let database = open_database(&folder, &context.cache).await?;
        Ok((database, folder))
    }

    /// The dense model's final hidden states over a slice.
    pub(super) async fn teacher(
        &self,
        context: &Context,
        slice: TokenSlice,
        pool: &Sequences,
        dense: &DenseModel,
    ) -> Result<Teacher, Failure> {
        let folder = complete(&context.store, &paths::teacher(&self.teacher_digest())).await?;
        let name = format!("{}.safetensors", slice.name());
        let path = folder
            .fetch(&name, &context.cache)
            .await
            .map_err(store_failure)?;
        block_in_place(|| Teacher::open(&path, pool, dense)).or_fail(
            ExitCode::BadData,
            format!("failed to read the teacher of {}", slice.name()),
        )
    }
}

/// Opens the level database in a folder of a store.
pub(super) async fn open_database(folder: &Folder, cache: &Path) -> Result<Database, Failure> {
    let about: database::Manifest = folder.about().map_err(store_failure)?;
    let mut files = Vec::new();
    for entry in &about.modules {
        let name = database::file_name(entry.module);
        files.push(folder.fetch(&name, cache).await.map_err(store_failure)?);
    }
    block_in_place(|| Database::over(about, files)).or_fail(
        ExitCode::BadData,
        format!("failed to open {}", folder.key()),
    )
}

/// A folder of this worker's below `cache` with a stored model's files under their own names.
pub(super) async fn model_folder(
    store: &Store,
    model: &str,
    cache: &Path,
    worker: &str,
) -> Result<PathBuf, Failure> {
    let stored = complete(store, &paths::model(model)).await?;
    let folder = cache.join(format!("model-{model}-{worker}"));
    std::fs::create_dir_all(&folder).or_fail(
        ExitCode::Bug,
        format!("failed to make {}", folder.display()),
    )?;
    for name in stored.manifest().files.keys() {
        let path = stored.fetch(name, cache).await.map_err(store_failure)?;
        let link = folder.join(name);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&path, &link)
            .or_fail(ExitCode::Bug, format!("failed to link {}", link.display()))?;
    }
    Ok(folder)
}

/// A folder that an earlier task completed.
async fn complete(store: &Store, key: &str) -> Result<Folder, Failure> {
    open_folder(store, key)
        .await
        .map_err(store_failure)?
        .ok_or_else(|| {
            Failure::new(
                ExitCode::InputMissing,
                format!(
                    "{key} is not complete in {}: an earlier task has to run",
                    store.url()
                ),
            )
        })
}

/// The ladders of a spec for a model; where they are spaced by time, `table` is what they are made
/// from.
///
/// # Errors
/// Exit code 78 when a kind cannot have them.
pub(super) fn ladders(
    shape: &Shape,
    pruning: &PruningSpec,
    table: Option<&LatencyTable>,
) -> Result<Ladders, Failure> {
    let levels = u8::try_from(pruning.levels).or_fail(ExitCode::BadSpec, "spec.pruning.levels")?;
    let ladder = |kind: ModuleKind, granularity| {
        let made = match (pruning.spacing, table) {
            (Spacing::Parameters, _) => Ladder::spaced(shape.units(kind), levels, granularity),
            (Spacing::Latency, Some(table)) => table.ladder(kind, levels),
            (Spacing::Latency, None) => {
                let message = "ladders spaced by time are asked for without a table of times";
                return Err(Failure::new(ExitCode::Bug, message));
            }
        };
        made.or_fail(
            ExitCode::BadSpec,
            format!("spec.pruning has no ladder for {kind}"),
        )
    };
    Ok(PerKind {
        attention: ladder(ModuleKind::Attention, 1)?,
        mlp: ladder(ModuleKind::Mlp, pruning.mlp_granularity)?,
    })
}
