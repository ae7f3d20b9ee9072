//! `build-database`: Hessians, removal order and the weights of every level, module by module.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use darwinlm_search::{Costs, Ladders, Module, ModuleKind, Shape};
use darwinlm_store::{Claimed, Claims, FileEntry, Files, Folder, FolderWriter, Store, digest_file};
use darwinlm_task::{DatabaseReport, ExitCode, NumericsPlan, PruningSpec, TokenSlice, paths};
use serde_json::json;
use tokio::task::block_in_place;

use super::compute::{Prepared, device, ladders};
use super::work::{Context, Ended, store_failure};
use crate::args;
use crate::database::{self, Manifest, ModuleEntry};
use crate::device::set_threads;
use crate::failure::{Failure, OrFail};
use crate::fitness::{FitnessError, write_teacher};
use crate::model::DenseModel;
use crate::prune::{CalibrationSettings, PruneError, build_module, calibrate};
use crate::stitch::columns_per_unit;
use crate::tokens::Sequences;

/// Hessians of a range of blocks are held at once, up to this many bytes.
const HESSIAN_BYTES: u64 = 4 << 30;

/// A builder that raised an exception so often is a bug; see the store's claims.
const EXCEPTIONS: usize = 3;

/// The database's worker looks again after this long while another builds it.
const POLL: Duration = Duration::from_millis(500);

/// Fills the database of the run, or waits until another worker has.
pub(super) async fn task(context: &Context, pruning: &PruningSpec) -> Result<Ended, Failure> {
    let prepared = Prepared::open(context).await?;
    let digest = prepared.database_digest(pruning);
    let writer = FolderWriter::new(&context.store, &paths::database(&digest));
    let teachers = FolderWriter::new(&context.store, &paths::teacher(&prepared.teacher_digest()));
    let mut claims = Claims::new(
        &context.store,
        &context.paths,
        &context.worker,
        context.times,
    );
    loop {
        let database = writer.complete().await.map_err(store_failure)?;
        let teacher = teachers.complete().await.map_err(store_failure)?;
        if let (Some(folder), Some(_)) = (database, teacher) {
            report(context, &digest, &folder);
            return Ok(Ended::Done);
        }
        if *context.stop.watch.borrow() {
            return Ok(Ended::Stopped);
        }
        match claims
            .claim("build-database", EXCEPTIONS)
            .await
            .map_err(store_failure)?
        {
            Claimed::Mine(claim) => {
                let built = build(context, &prepared, pruning, &writer, &teachers).await;
                match built {
                    Ok(Ended::Done) => claim.finish().await,
                    Ok(Ended::Stopped | Ended::BudgetSpent) => {
                        claim.release().await;
                        return Ok(Ended::Stopped);
                    }
                    Err(failure) => {
                        claim.release().await;
                        return Err(failure);
                    }
                }
            }
            Claimed::Held => tokio::time::sleep(POLL).await,
            Claimed::Failed { messages } => {
                let last = messages.last().map_or("", String::as_str);
                return Err(Failure::new(
                    ExitCode::Bug,
                    format!("the database failed: {last}"),
                ));
            }
        }
    }
}

fn report(context: &Context, digest: &str, folder: &Folder) {
    context.reporter.update(|report| {
        report.database = Some(DatabaseReport {
            digest: digest.to_owned(),
            bytes: folder.bytes(),
        });
    });
}

async fn build(
    context: &Context,
    prepared: &Prepared,
    pruning: &PruningSpec,
    writer: &FolderWriter,
    teachers: &FolderWriter,
) -> Result<Ended, Failure> {
    let dense = prepared.dense(context).await?;
    let calibration = prepared
        .sequences(context, TokenSlice::Calibration, &dense)
        .await?;
    let shape = dense.config.shape(pruning.attention_unit);
    let recipe = Recipe {
        model: prepared.plan.model.clone(),
        calibration: prepared.plan.calibration.sha256.clone(),
        ladders: ladders(
            &shape,
            pruning.levels,
            pruning.mlp_granularity,
            pruning.spacing,
        )?,
        shape,
        damping_permille: pruning.damping_permille,
        hessian_batch_sequences: prepared.numerics().hessian_batch_sequences,
    };
    let builder = Builder {
        dense: &dense,
        calibration: &calibration,
        recipe: &recipe,
        writer,
        scratch: &context.cache,
        name: &context.worker,
        cancel: &context.stop.flag,
    };
    let built = builder
        .build(|done, total, unit| {
            if unit == MODULES {
                context.metrics.modules.inc();
            }
            context.reporter.progress(done, total, unit);
        })
        .await?;
    if built.is_none() {
        return Ok(Ended::Stopped);
    }
    write_teachers(context, prepared, &dense, teachers).await
}

/// Writes the dense model's final hidden states over fitness and validation.
async fn write_teachers(
    context: &Context,
    prepared: &Prepared,
    dense: &DenseModel,
    writer: &FolderWriter,
) -> Result<Ended, Failure> {
    let mut files = Files::new();
    for slice in [TokenSlice::Fitness, TokenSlice::Validation] {
        let pool = prepared.sequences(context, slice, dense).await?;
        let name = format!("{}.safetensors", slice.name());
        let path = context
            .cache
            .join(format!("{}-teacher-{name}", context.worker));
        let total = u64::from(pool.count()) * u64::from(pool.length());
        let mut done = 0;
        let written = block_in_place(|| {
            write_teacher(
                &dense.model,
                &pool,
                prepared.numerics().micro_batch_sequences,
                &path,
                &context.stop.flag,
                |tokens| {
                    done += tokens;
                    context.reporter.progress(done, total, "teacher tokens");
                },
            )
        });
        match written {
            Err(FitnessError::Cancelled) => return Ok(Ended::Stopped),
            other => other.or_fail(ExitCode::Bug, "failed to write the teacher's states")?,
        }
        let file = writer.put_file(&name, &path).await.map_err(store_failure);
        let _ = std::fs::remove_file(&path);
        files.insert(name, file?);
    }
    let about = json!({ "model": prepared.plan.model });
    writer.finish(&about, files).await.map_err(store_failure)?;
    Ok(Ended::Done)
}

/// What a database is made from.
struct Recipe {
    model: String,
    calibration: String,
    shape: Shape,
    ladders: Ladders,
    damping_permille: u32,
    hessian_batch_sequences: u32,
}

const MODULES: &str = "modules";

/// Builds one database into a folder of a store; a module that is done is not done again.
struct Builder<'a> {
    dense: &'a DenseModel,
    calibration: &'a Sequences,
    recipe: &'a Recipe,
    writer: &'a FolderWriter,
    scratch: &'a Path,
    name: &'a str,
    cancel: &'a AtomicBool,
}

impl Builder<'_> {
    /// `None` when it was told to stop.
    async fn build(
        &self,
        mut progress: impl FnMut(u64, u64, &str),
    ) -> Result<Option<Folder>, Failure> {
        let total = u64::from(self.recipe.shape.blocks) * 2;
        let mut entries = BTreeMap::new();
        let mut files = Files::new();
        for range in self.ranges() {
            if self.range_is_done(&range).await? {
                for block in range {
                    self.collect(block, &mut entries, &mut files).await?;
                }
                progress(entries.len() as u64, total, MODULES);
                continue;
            }
            let tokens = u64::from(self.calibration.count()) * u64::from(self.calibration.length());
            let mut seen = 0;
            let settings = CalibrationSettings {
                batch_sequences: self.recipe.hessian_batch_sequences,
            };
            let calibrated = block_in_place(|| {
                let hear = |heard| {
                    seen += heard;
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
                Err(PruneError::Cancelled) => return Ok(None),
                other => other.or_fail(ExitCode::BadData, "failed to collect the Hessians")?,
            };
            for block in hessians {
                for kind in ModuleKind::ALL {
                    if self.cancel.load(std::sync::atomic::Ordering::Relaxed) {
                        return Ok(None);
                    }
                    let module = Module {
                        block: block.block,
                        kind,
                    };
                    self.build_module(module, &block.hessians[kind]).await?;
                    progress(u64::from(block.block) * 2 + 1 + kind as u64, total, MODULES);
                }
                self.collect(block.block, &mut entries, &mut files).await?;
            }
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
            damping_permille: self.recipe.damping_permille,
            modules: entries.into_values().collect(),
        };
        self.writer
            .finish(&about, files)
            .await
            .map(Some)
            .map_err(store_failure)
    }

    /// Contiguous ranges of blocks whose Hessians fit.
    fn ranges(&self) -> Vec<Range<u32>> {
        let shape = &self.recipe.shape;
        let square = |columns: u64| columns * columns * 4;
        let attention = u64::from(shape.query_heads) * u64::from(shape.head_dim);
        let block = square(attention) + square(u64::from(shape.intermediate));
        let blocks = u32::try_from((HESSIAN_BYTES / block).max(1)).unwrap_or(u32::MAX);
        let starts = (0..shape.blocks).step_by(blocks as usize);
        starts
            .map(|start| start..start.saturating_add(blocks).min(shape.blocks))
            .collect()
    }

    async fn range_is_done(&self, range: &Range<u32>) -> Result<bool, Failure> {
        for block in range.clone() {
            for kind in ModuleKind::ALL {
                let part = Module { block, kind }.to_string();
                if self
                    .writer
                    .part(&part)
                    .await
                    .map_err(store_failure)?
                    .is_none()
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn build_module(&self, module: Module, hessian: &tch::Tensor) -> Result<(), Failure> {
        if self
            .writer
            .part(&module.to_string())
            .await
            .map_err(store_failure)?
            .is_some()
        {
            return Ok(());
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
        let levels = block_in_place(|| {
            tch::no_grad(|| {
                build_module(owner, hessian, width, ladder, self.recipe.damping_permille)
            })
        })
        .or_fail(ExitCode::BadData, format!("failed to prune {module}"))?;
        let folder = self.scratch.join(format!("scratch-{}", self.name));
        let doing = || format!("failed to write into {}", folder.display());
        std::fs::create_dir_all(&folder).or_fail(ExitCode::PermissionDenied, doing())?;
        let entry = block_in_place(|| database::write_module(&folder, module, &levels))
            .or_fail(ExitCode::Bug, doing())?;
        let put = self.put(module, &folder.join(&entry.file), &entry).await;
        let _ = std::fs::remove_dir_all(&folder);
        put
    }

    async fn put(
        &self,
        module: Module,
        scratch: &Path,
        entry: &ModuleEntry,
    ) -> Result<(), Failure> {
        let weights = database::file_name(module);
        let figures = figures_name(module);
        let text = serde_json::to_vec(entry).or_fail(ExitCode::Bug, "figures are JSON")?;
        let files = Files::from([
            (
                weights.clone(),
                self.writer
                    .put_file(&weights, scratch)
                    .await
                    .map_err(store_failure)?,
            ),
            (
                figures.clone(),
                self.writer
                    .put(&figures, text.into())
                    .await
                    .map_err(store_failure)?,
            ),
        ]);
        self.writer
            .finish_part(&module.to_string(), &files)
            .await
            .map_err(store_failure)?;
        Ok(())
    }

    /// Takes over what is stored of a block's modules, whoever built them.
    async fn collect(
        &self,
        block: u32,
        entries: &mut BTreeMap<Module, ModuleEntry>,
        files: &mut Files,
    ) -> Result<(), Failure> {
        for kind in ModuleKind::ALL {
            let module = Module { block, kind };
            let part = self
                .writer
                .part(&module.to_string())
                .await
                .map_err(store_failure)?;
            let part: BTreeMap<String, FileEntry> = part.ok_or_else(|| {
                Failure::new(
                    ExitCode::StoreUnavailable,
                    format!("{module} vanished from the store"),
                )
            })?;
            let text = self
                .writer
                .read(&part[&figures_name(module)])
                .await
                .map_err(store_failure)?;
            let entry = serde_json::from_slice(&text).or_fail(
                ExitCode::BadData,
                format!("failed to read {}", figures_name(module)),
            )?;
            entries.insert(module, entry);
            files.extend(part);
        }
        Ok(())
    }
}

fn figures_name(module: Module) -> String {
    format!("{module}.json")
}

/// `darwinlm-runner build-database`: the same database from files, for people and scripts.
pub(super) async fn by_hand(arguments: args::BuildDatabase) -> Result<(), Failure> {
    let started = Instant::now();
    let (device, class) = device(arguments.numerics.device)?;
    let numerics = match class {
        darwinlm_task::DeviceClass::Cpu => NumericsPlan::cpu(arguments.numerics.threads),
        darwinlm_task::DeviceClass::Cuda => NumericsPlan::cuda(arguments.numerics.threads),
    };
    set_threads(numerics.threads);
    let kind = super::compute::kind(numerics.dtype);
    let dense = block_in_place(|| DenseModel::open(&arguments.model, kind, device))
        .or_fail(ExitCode::BadData, "failed to load the dense model")?;
    let calibration =
        block_in_place(|| Sequences::open(&arguments.tokens, dense.config.vocabulary))
            .or_fail(ExitCode::BadData, "failed to read --tokens")?;
    let shape = dense
        .config
        .shape(darwinlm_search::AttentionUnit::QueryHead);
    let ladders = match &arguments.ladder {
        Some(path) => {
            let text = std::fs::read(path).or_fail(
                ExitCode::InputMissing,
                format!("failed to read {}", path.display()),
            )?;
            serde_json::from_slice(&text).or_fail(
                ExitCode::BadData,
                format!("{} is no ladder", path.display()),
            )?
        }
        None => ladders(
            &shape,
            u32::from(arguments.levels),
            arguments.mlp_granularity,
            darwinlm_task::Spacing::Parameters,
        )?,
    };
    let recipe = Recipe {
        model: digest_file(&arguments.model.join("config.json"))
            .await
            .map_err(store_failure)?
            .sha256,
        calibration: digest_file(&arguments.tokens)
            .await
            .map_err(store_failure)?
            .sha256,
        shape,
        ladders,
        damping_permille: arguments.damping_permille,
        hessian_batch_sequences: numerics.hessian_batch_sequences,
    };
    let (store, key) = folder_store(&arguments.out)?;
    let writer = FolderWriter::new(&store, &key);
    if writer.complete().await.map_err(store_failure)?.is_some() {
        return Err(Failure::new(
            ExitCode::Usage,
            format!(
                "--out {} holds a level database already",
                arguments.out.display()
            ),
        ));
    }
    let builder = Builder {
        dense: &dense,
        calibration: &calibration,
        recipe: &recipe,
        writer: &writer,
        scratch: &arguments.out,
        name: "scratch",
        cancel: &AtomicBool::new(false),
    };
    let folder = builder
        .build(|done, total, unit| tracing::info!(done, total, unit, "the database grows"))
        .await?
        .expect("nobody stops a command but the shell");
    print(&folder, started.elapsed(), arguments.json)
}

/// A folder on this machine as a store of its own.
pub(super) fn folder_store(folder: &Path) -> Result<(Store, String), Failure> {
    let doing = || format!("failed to open {}", folder.display());
    std::fs::create_dir_all(folder).or_fail(ExitCode::PermissionDenied, doing())?;
    let path = folder
        .canonicalize()
        .or_fail(ExitCode::InputMissing, doing())?;
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .map(ToOwned::to_owned);
    let (Some(parent), Some(name)) = (path.parent(), name) else {
        return Err(Failure::new(
            ExitCode::Usage,
            format!("{}: not a folder", folder.display()),
        ));
    };
    let store = Store::open(&format!("file://{}", parent.display())).map_err(store_failure)?;
    Ok((store, name))
}

fn print(folder: &Folder, took: Duration, as_json: bool) -> Result<(), Failure> {
    let about: Manifest = folder.about().map_err(store_failure)?;
    if as_json {
        let modules: Vec<_> = about
            .modules
            .iter()
            .map(|entry| json!({ "module": entry.module.to_string(), "errors": entry.errors }))
            .collect();
        let line = json!({
            "modules": modules,
            "seconds": took.as_secs_f64(),
            "bytes": folder.bytes(),
        });
        println!("{line}");
        return Ok(());
    }
    println!("{:<24} error at each level", "module");
    for entry in &about.modules {
        let errors: Vec<_> = entry
            .errors
            .iter()
            .map(|error| format!("{error:.4}"))
            .collect();
        println!("{:<24} {}", entry.module.to_string(), errors.join(" "));
    }
    println!("{} bytes in {:.1} s", folder.bytes(), took.as_secs_f64());
    Ok(())
}
