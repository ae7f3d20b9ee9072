//! Builds one database into a folder of a store, module by module; what is done is not done again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use darwinlm_search::{Costs, Ladders, Module, ModuleKind, Shape};
use darwinlm_store::{FileEntry, Files, Folder, FolderWriter, Timesheet};
use darwinlm_task::ExitCode;
use tch::Tensor;
use tokio::task::block_in_place;

use crate::command::context::{Ended, store_failure};
use crate::database::{self, Manifest, ModuleEntry};
use crate::device;
use crate::failure::{Failure, OrFail};
use crate::flops::Work;
use crate::memory::Sizes;
use crate::metrics::Metrics;
use crate::model::DenseModel;
use crate::no_grad::no_grad;
use crate::prune::{CalibrationSettings, PruneError, build_module, calibrate};
use crate::stitch::columns_per_unit;
use crate::tokens::Sequences;

/// The unit of progress once the Hessians are there.
pub(super) const MODULES: &str = "modules";

/// What a database is made from.
pub(super) struct Recipe {
    pub(super) model: String,
    pub(super) calibration: String,
    pub(super) shape: Shape,
    pub(super) ladders: Ladders,
    pub(super) latency_table: Option<String>,
    pub(super) damping_permille: u32,
    pub(super) hessian_batch_sequences: u32,
}

/// Everything that building a module needs.
pub(super) struct Builder<'a> {
    pub(super) dense: &'a DenseModel,
    pub(super) calibration: &'a Sequences,
    pub(super) recipe: &'a Recipe,
    pub(super) writer: &'a FolderWriter,
    pub(super) scratch: &'a Path,
    pub(super) name: &'a str,
    pub(super) cancel: &'a AtomicBool,
    /// Where the time goes, if anybody asks.
    pub(super) timesheet: Option<&'a Timesheet>,
    /// What counts the passes over the calibration tokens, if anybody asks.
    pub(super) metrics: Option<&'a Metrics>,
    /// What decides how many blocks' Hessians fit on the device.
    pub(super) sizes: &'a Sizes,
}

impl Builder<'_> {
    /// The ranges of blocks that workers share.
    pub(super) fn ranges(&self, workers: u32) -> Vec<Range<u32>> {
        let capacity = device::capacity(self.dense.model.device());
        self.sizes.block_ranges(capacity, workers)
    }

    /// Whether every module of the range is in the store.
    pub(super) async fn is_done(&self, range: &Range<u32>) -> Result<bool, Failure> {
        Ok(self.open(range).await?.is_empty())
    }

    /// From the first block of the range that lacks a module to the last one: others need neither
    /// Hessians nor, behind the last, a forward pass.
    async fn open(&self, range: &Range<u32>) -> Result<Range<u32>, Failure> {
        let mut open = range.end..range.start;
        for block in range.clone() {
            for kind in ModuleKind::ALL {
                let part = Module { block, kind }.to_string();
                let part = self.writer.part(&part).await.map_err(store_failure)?;
                if part.is_none() {
                    open = open.start.min(block)..block + 1;
                }
            }
        }
        Ok(open)
    }

    /// Builds the modules of a range that are not in the store yet.
    pub(super) async fn build(
        &self,
        range: &Range<u32>,
        mut progress: impl FnMut(u64, u64, &str),
    ) -> Result<Ended, Failure> {
        let range = self.open(range).await?;
        if range.is_empty() {
            // another run's worker has built the last of them since we looked
            return Ok(Ended::Done);
        }
        if let Some(timesheet) = self.timesheet {
            timesheet.computing();
        }
        let tokens = u64::from(self.calibration.count()) * u64::from(self.calibration.length());
        let settings = CalibrationSettings {
            batch_sequences: self.recipe.hessian_batch_sequences,
        };
        let mut seen = 0;
        let calibrated = block_in_place(|| {
            let hear = |work: Work| {
                if let Some(metrics) = self.metrics {
                    metrics.passed(work);
                }
                seen += work.tokens;
                progress(seen, tokens, "calibration tokens");
            };
            let model = &self.dense.model;
            calibrate(
                model,
                self.calibration,
                range.clone(),
                settings,
                self.cancel,
                hear,
            )
        });
        let hessians = match calibrated {
            Err(PruneError::Cancelled) => return Ok(Ended::Stopped),
            other => other.or_fail(ExitCode::BadData, "failed to collect the Hessians")?,
        };
        let total = u64::from(range.end - range.start) * 2;
        let mut done = 0;
        for block in hessians {
            for kind in ModuleKind::ALL {
                if self.cancel.load(Ordering::Relaxed) {
                    return Ok(Ended::Stopped);
                }
                let module = Module {
                    block: block.block,
                    kind,
                };
                let is_kept = self.build_module(module, &block.hessians[kind]).await?;
                self.book(is_kept);
                done += 1;
                progress(done, total, MODULES);
            }
        }
        Ok(Ended::Done)
    }

    /// The Hessians' time is booked with the first module that they led to.
    fn book(&self, is_kept: bool) {
        let Some(timesheet) = self.timesheet else {
            return;
        };
        if is_kept {
            timesheet.kept();
        }
        timesheet.computing();
    }

    /// False when another worker has built it meanwhile.
    async fn build_module(&self, module: Module, hessian_NN: &Tensor) -> Result<bool, Failure> {
        if self
            .writer
            .part(&module.to_string())
            .await
            .map_err(store_failure)?
            .is_some()
        {
            return Ok(true);
        }
        let block = &self.dense.model.blocks[module.block as usize];
        let owner = match module.kind {
            ModuleKind::Attention => block
                .attention
                .as_ref()
                .map(|(_, attention)| &attention.o_DQ),
            ModuleKind::Mlp => block.mlp.as_ref().map(|(_, mlp)| &mlp.down_DC),
        };
        let owner = owner.expect("a dense block has both modules");
        let width = columns_per_unit(&self.recipe.shape, module.kind);
        let ladder = &self.recipe.ladders[module.kind];
        let damping = self.recipe.damping_permille;
        let levels =
            block_in_place(|| no_grad(|| build_module(owner, hessian_NN, width, ladder, damping)))
                .or_fail(ExitCode::BadData, format!("failed to prune {module}"))?;
        let folder = self.scratch.join(format!("scratch-{}", self.name));
        let doing = || format!("failed to write into {}", folder.display());
        std::fs::create_dir_all(&folder).or_fail(ExitCode::PermissionDenied, doing())?;
        let entry = block_in_place(|| database::write_module(&folder, module, &levels))
            .or_fail(ExitCode::Bug, doing())?;
        let put = self
            .put(module, &folder.join(database::file_name(module)), &entry)
            .await;
        let _ = std::fs::remove_dir_all(&folder);
        put
    }

    async fn put(
        &self,
        module: Module,
        scratch: &Path,
        entry: &ModuleEntry,
    ) -> Result<bool, Failure> {
        let (weights, figures) = (database::file_name(module), figures_name(module));
        let text = serde_json::to_vec(entry).or_fail(ExitCode::Bug, "figures are JSON")?;
        let stored = self
            .writer
            .put_file(&weights, scratch)
            .await
            .map_err(store_failure)?;
        let told = self
            .writer
            .put(&figures, text.into())
            .await
            .map_err(store_failure)?;
        let part = module.to_string();
        let known = self.writer.part(&part).await.map_err(store_failure)?;
        let files = Files::from([(weights, stored), (figures, told)]);
        let finished = self.writer.finish_part(&part, &files).await;
        finished.map_err(store_failure)?;
        Ok(known.is_none())
    }

    /// Writes the manifest over all modules, whoever built them.
    pub(super) async fn finish(&self) -> Result<Folder, Failure> {
        let mut modules = Vec::new();
        let mut files = Files::new();
        for module in Module::all(self.recipe.shape.blocks) {
            let part = self
                .writer
                .part(&module.to_string())
                .await
                .map_err(store_failure)?;
            let part: BTreeMap<String, FileEntry> = part.ok_or_else(|| {
                let message = format!("{module} vanished from the store");
                Failure::new(ExitCode::StoreUnavailable, message)
            })?;
            let figures = figures_name(module);
            let text = self
                .writer
                .read(&part[&figures])
                .await
                .map_err(store_failure)?;
            let entry: ModuleEntry = serde_json::from_slice(&text)
                .or_fail(ExitCode::BadData, format!("failed to read {figures}"))?;
            modules.push(entry);
            files.extend(part);
        }
        let costs = Costs::parameters(&self.recipe.shape, &self.recipe.ladders)
            .or_fail(ExitCode::BadSpec, "the ladders have no costs")?;
        let about = Manifest {
            format_version: database::FORMAT_VERSION,
            model: self.recipe.model.clone(),
            calibration: self.recipe.calibration.clone(),
            shape: self.recipe.shape.clone(),
            ladders: self.recipe.ladders.clone(),
            costs,
            latency_table: self.recipe.latency_table.clone(),
            damping_permille: self.recipe.damping_permille,
            modules,
        };
        self.writer
            .finish(&about, files)
            .await
            .map_err(store_failure)
    }
}

fn figures_name(module: Module) -> String {
    format!("{module}.json")
}
