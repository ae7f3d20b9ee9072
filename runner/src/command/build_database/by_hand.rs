//! `darwinlm-runner build-database`: a level database from files, for people and scripts.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use darwinlm_search::AttentionUnit;
use darwinlm_store::{Folder, FolderWriter, Store, digest_file};
use darwinlm_task::{ExitCode, NumericsPlan, PruningSpec, Spacing};
use serde_json::json;
use tokio::task::block_in_place;
use url::Url;

use super::builder::{Builder, Recipe};
use crate::args;
use crate::command::compute::{ladders, open_device};
use crate::command::context::store_failure;
use crate::database::Manifest;
use crate::device::{kind, set_threads};
use crate::failure::{Failure, OrFail};
use crate::memory::Sizes;
use crate::model::DenseModel;
use crate::tokens::Sequences;

/// `darwinlm-runner build-database`: the same database from files, for people and scripts.
pub(crate) async fn by_hand(arguments: args::BuildDatabase) -> Result<(), Failure> {
    let started = Instant::now();
    let (device, class) = open_device(arguments.numerics.device)?;
    let numerics = NumericsPlan::of(class, arguments.numerics.threads);
    set_threads(numerics.threads);
    let kind = kind(numerics.dtype);
    let dense = block_in_place(|| DenseModel::open(&arguments.model, kind, device))
        .or_fail(ExitCode::BadData, "failed to load the dense model")?;
    let calibration =
        block_in_place(|| Sequences::open(&arguments.tokens, dense.config.vocabulary))
            .or_fail(ExitCode::BadData, "failed to read --tokens")?;
    let shape = dense.config.shape(AttentionUnit::QueryHead);
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
        None => {
            let pruning = PruningSpec {
                levels: u32::from(arguments.levels),
                spacing: Spacing::Parameters,
                mlp_granularity: arguments.mlp_granularity,
                attention_unit: shape.attention_unit,
                damping_permille: arguments.damping_permille,
            };
            ladders(&shape, &pruning, None)?
        }
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
        latency_table: None,
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
    let sizes = Sizes {
        shape: recipe.shape.clone(),
        windows: dense.config.windows.clone(),
        numerics,
        sequence_length: calibration.length(),
        batch_sequences: numerics.micro_batch_sequences,
    };
    let builder = Builder {
        dense: &dense,
        calibration: &calibration,
        recipe: &recipe,
        writer: &writer,
        scratch: &arguments.out,
        name: "by-hand",
        cancel: &AtomicBool::new(false),
        timesheet: None,
        metrics: None,
        sizes: &sizes,
    };
    for range in builder.ranges(1) {
        let tell =
            |done, total, unit: &str| tracing::info!(done, total, unit, "the database grows");
        builder.build(&range, tell).await?;
    }
    let folder = builder.finish().await?;
    print(&folder, started.elapsed(), arguments.json)
}

/// A folder on this machine as a store of its own.
pub(crate) fn folder_store(folder: &Path) -> Result<(Store, String), Failure> {
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
    let parent = Url::from_directory_path(parent).expect("a canonical path is absolute");
    let store = Store::open(parent.as_str()).map_err(store_failure)?;
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
