//! `prepare`: fetches and checks the model and the data, tokenises, fixes the numerics plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use darwinlm_search::{AttentionUnit, ModuleKind};
use darwinlm_store::{FolderWriter, digest_bytes, digest_file, guard_run};
use darwinlm_task::{
    DataSpec, DeviceRequest, ExitCode, ModelReport, NumericsPlan, Plan, PlannedTokens,
    PreparedReport, SliceSpec, TextSource, TokenSlice, paths,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::block_in_place;

use super::source::local;
use super::work::{Context, Ended, store_failure};
use crate::device;
use crate::failure::{Failure, OrFail};
use crate::model::{DenseModel, ModelConfig};
use crate::tokens::{Sequences, SliceRequest, TextTokenizer, cut, documents};

/// Version of the recipe that turns text into token files; part of their digest.
const TOKENS_VERSION: u32 = 1;

/// What of a model's folder is kept: configuration, tokenizer and safetensors, never code.
const MODEL_FILES: [&str; 14] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "tokenizer.model",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
];

/// What a `tokens/` folder is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokensAbout {
    version: u32,
    sequence_length: u32,
    sequences: BTreeMap<String, u32>,
}

pub(super) async fn prepare(
    context: &Context,
    model: &str,
    data: &DataSpec,
    threads: Option<u32>,
    search_digest: &str,
) -> Result<Ended, Failure> {
    guard_run(&context.store, &context.paths, search_digest)
        .await
        .map_err(store_failure)?;
    let numerics = plan_numerics(context.spec.device, threads)?;
    device::set_threads(numerics.threads);

    let folder = local("spec.model.source", model)?;
    let config = ModelConfig::open(&folder).or_fail(ExitCode::BadData, "the model is refused")?;
    check_length(data, &config)?;
    let files = model_files(&folder)?;
    let mut digests = BTreeMap::new();
    for (done, (name, path)) in files.iter().enumerate() {
        context
            .reporter
            .progress(done as u64, files.len() as u64, "model files");
        digests.insert(
            name.clone(),
            digest_file(path).await.map_err(store_failure)?.sha256,
        );
    }
    let model_digest = digest_of(&json!({ "files": digests }));
    block_in_place(|| DenseModel::open(&folder, device::kind(numerics.dtype), tch::Device::Cpu))
        .or_fail(
            ExitCode::BadData,
            format!("failed to load the model in {}", folder.display()),
        )?;
    keep_model(context, &model_digest, &files).await?;

    let tokens = make_tokens(context, data, &folder, &config, &digests).await?;
    let shape = config.shape(AttentionUnit::QueryHead);
    let blocks = u64::from(shape.blocks);
    let dense_parameters = shape.fixed_parameters()
        + blocks
            * [ModuleKind::Attention, ModuleKind::Mlp]
                .map(|kind| shape.parameters_at(kind, shape.units(kind)))
                .iter()
                .sum::<u64>();
    let [calibration, training, fitness, validation] = tokens.slices;
    let plan = Plan {
        version: darwinlm_task::VERSION,
        model: model_digest.clone(),
        tokens: tokens.digest.clone(),
        calibration,
        training,
        fitness,
        validation,
        dense_parameters,
        numerics,
    };
    keep_plan(context, &plan).await?;
    context.reporter.update(|report| {
        report.prepared = Some(PreparedReport {
            model: ModelReport {
                digest: model_digest,
                blocks: shape.blocks,
                parameters: dense_parameters,
            },
            tokens: tokens.digest,
        });
    });
    Ok(Ended::Done)
}

/// The device class comes from what was asked for: `prepare` itself may run without the device.
fn plan_numerics(device: DeviceRequest, threads: Option<u32>) -> Result<NumericsPlan, Failure> {
    let threads = threads.unwrap_or(NumericsPlan::DEFAULT_THREADS);
    if threads == 0 {
        return Err(Failure::new(
            ExitCode::BadSpec,
            "threads is 0; accepted: 1 or more",
        ));
    }
    Ok(match device {
        DeviceRequest::Cpu => NumericsPlan::cpu(threads),
        DeviceRequest::Cuda => NumericsPlan::cuda(threads),
        DeviceRequest::Auto if device::cuda().is_ok() => NumericsPlan::cuda(threads),
        DeviceRequest::Auto => NumericsPlan::cpu(threads),
    })
}

fn check_length(data: &DataSpec, config: &ModelConfig) -> Result<(), Failure> {
    let asked = i64::from(data.sequence_length);
    if asked > config.max_positions {
        return Err(Failure::new(
            ExitCode::BadSpec,
            format!(
                "spec.data.calibration.sequenceLength is {asked}; the model's context \
                 (max_position_embeddings) is {}",
                config.max_positions
            ),
        ));
    }
    Ok(())
}

/// The files of the model's folder that are kept, by name.
fn model_files(folder: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder).or_fail(
        ExitCode::InputMissing,
        format!("failed to read {}", folder.display()),
    )?;
    let files = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let kept = MODEL_FILES.contains(&name.as_str()) || name.ends_with(".safetensors");
        (kept && entry.path().is_file()).then(|| (name, entry.path()))
    });
    Ok(files.collect())
}

async fn keep_model(
    context: &Context,
    digest: &str,
    files: &BTreeMap<String, PathBuf>,
) -> Result<(), Failure> {
    let writer = FolderWriter::new(&context.store, &paths::model(digest));
    if writer.complete().await.map_err(store_failure)?.is_some() {
        return Ok(());
    }
    let mut kept = BTreeMap::new();
    for (done, (name, path)) in files.iter().enumerate() {
        context
            .reporter
            .progress(done as u64, files.len() as u64, "model files");
        kept.insert(
            name.clone(),
            writer.put_file(name, path).await.map_err(store_failure)?,
        );
    }
    writer
        .finish(&json!({ "digest": digest }), kept)
        .await
        .map_err(store_failure)?;
    Ok(())
}

/// The token files of a run.
struct Tokens {
    digest: String,
    slices: [PlannedTokens; 4],
}

async fn make_tokens(
    context: &Context,
    data: &DataSpec,
    model: &Path,
    config: &ModelConfig,
    model_files: &BTreeMap<String, String>,
) -> Result<Tokens, Failure> {
    let digest = tokens_digest(data, config, model_files).await?;
    let writer = FolderWriter::new(&context.store, &paths::tokens(&digest));
    let folder = match writer.complete().await.map_err(store_failure)? {
        Some(folder) => folder,
        None => {
            let slices = block_in_place(|| tokenise(data, model, config))?;
            let mut files = BTreeMap::new();
            let mut sequences = BTreeMap::new();
            for (slice, tokens) in TokenSlice::ALL.iter().zip(&slices) {
                let name = format!("{}.safetensors", slice.name());
                let path = context.cache.join(format!("{}-{name}", context.worker));
                block_in_place(|| tokens.write(&path))
                    .or_fail(ExitCode::Bug, format!("failed to write {}", path.display()))?;
                let file = writer.put_file(&name, &path).await.map_err(store_failure);
                let _ = std::fs::remove_file(&path);
                files.insert(name, file?);
                sequences.insert(slice.name().to_owned(), tokens.count());
            }
            let about = TokensAbout {
                version: TOKENS_VERSION,
                sequence_length: data.sequence_length,
                sequences,
            };
            writer.finish(&about, files).await.map_err(store_failure)?
        }
    };
    let about: TokensAbout = folder.about().map_err(store_failure)?;
    let mut slices = Vec::new();
    for slice in TokenSlice::ALL {
        let file = folder
            .file(&format!("{}.safetensors", slice.name()))
            .map_err(store_failure)?;
        slices.push(PlannedTokens {
            sha256: file.sha256.clone(),
            sequences: about
                .sequences
                .get(slice.name())
                .copied()
                .unwrap_or_default(),
            sequence_length: about.sequence_length,
        });
    }
    let slices = slices.try_into().expect("there are four slices");
    Ok(Tokens { digest, slices })
}

/// The slices of the spec, in the order of [`TokenSlice::ALL`].
fn slice_specs(data: &DataSpec) -> [(TokenSlice, &SliceSpec); 4] {
    TokenSlice::ALL.map(|slice| {
        let spec = match slice {
            TokenSlice::Calibration => &data.calibration,
            TokenSlice::Training => &data.training,
            TokenSlice::Fitness => &data.fitness,
            TokenSlice::Validation => &data.validation,
        };
        (slice, spec)
    })
}

fn field(slice: TokenSlice) -> String {
    format!("spec.data.{}.source", slice.name())
}

/// Equal inputs have equal tokens: the digest names the files by their content, not by their place.
async fn tokens_digest(
    data: &DataSpec,
    config: &ModelConfig,
    model_files: &BTreeMap<String, String>,
) -> Result<String, Failure> {
    let mut slices = Vec::new();
    for (slice, spec) in slice_specs(data) {
        let source = match &spec.source {
            None => None,
            Some(source) => {
                let path = local(&field(slice), &source.url)?;
                let sha256 = digest_file(&path).await.map_err(store_failure)?.sha256;
                Some(json!({
                    "sha256": sha256,
                    "kind": path.extension().and_then(|e| e.to_str()),
                    "textField": source.text_field,
                }))
            }
        };
        slices.push(json!({ "slice": slice.name(), "tokens": spec.tokens, "source": source }));
    }
    Ok(digest_of(&json!({
        "version": TOKENS_VERSION,
        "sequenceLength": data.sequence_length,
        "slices": slices,
        "tokenizer": model_files.get("tokenizer.json"),
        "vocabulary": config.vocabulary,
        "endOfText": config.end_of_text,
    })))
}

/// Cuts every slice: those without a source follow calibration in calibration's own.
fn tokenise(
    data: &DataSpec,
    model: &Path,
    config: &ModelConfig,
) -> Result<[Sequences; 4], Failure> {
    let specs = slice_specs(data);
    let request = |(slice, spec): &(TokenSlice, &SliceSpec)| SliceRequest {
        name: slice.name(),
        tokens: spec.tokens,
        sequence_length: data.sequence_length,
    };
    let mut made: BTreeMap<TokenSlice, Sequences> = BTreeMap::new();
    for (slice, spec) in &specs {
        let Some(source) = &spec.source else { continue };
        let shares = |(other, spec): &&(TokenSlice, &SliceSpec)| {
            other == slice || (*slice == TokenSlice::Calibration && spec.source.is_none())
        };
        let group: Vec<_> = specs.iter().filter(shares).collect();
        let requests: Vec<_> = group.iter().map(|spec| request(spec)).collect();
        let stream = stream(*slice, source, data, model, config)?;
        let pieces = cut(&stream, &requests).or_fail(
            ExitCode::BadData,
            format!("{} {} is too short", field(*slice), source.url),
        )?;
        made.extend(group.iter().map(|(slice, _)| *slice).zip(pieces));
    }
    let slices: Option<Vec<_>> = TokenSlice::ALL
        .iter()
        .map(|slice| made.remove(slice))
        .collect();
    let slices = slices.ok_or_else(|| {
        Failure::new(ExitCode::BadSpec, "spec.data.calibration.source is missing")
    })?;
    Ok(slices.try_into().expect("there are four slices"))
}

/// All tokens of one source.
fn stream(
    slice: TokenSlice,
    source: &TextSource,
    data: &DataSpec,
    model: &Path,
    config: &ModelConfig,
) -> Result<Vec<i32>, Failure> {
    let path = local(&field(slice), &source.url)?;
    let wrong = || format!("{} cannot be used", field(slice));
    if path
        .extension()
        .is_some_and(|extension| extension == "safetensors")
    {
        let sequences =
            Sequences::open(&path, config.vocabulary).or_fail(ExitCode::BadData, wrong())?;
        if sequences.length() != data.sequence_length {
            return Err(Failure::new(
                ExitCode::BadSpec,
                format!(
                    "{} holds sequences of {} tokens; spec.data.calibration.sequenceLength is {}",
                    path.display(),
                    sequences.length(),
                    data.sequence_length
                ),
            ));
        }
        return Ok((0..sequences.count())
            .flat_map(|s| sequences.sequence(s).to_vec())
            .collect());
    }
    let tokenizer = TextTokenizer::open(model, config.vocabulary, config.end_of_text)
        .or_fail(ExitCode::BadData, wrong())?;
    let documents = documents(&path, &source.text_field).or_fail(ExitCode::BadData, wrong())?;
    tokenizer
        .stream(&documents)
        .or_fail(ExitCode::BadData, wrong())
}

/// Writes `plan.json`, or finds the same plan there.
async fn keep_plan(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let key = context.paths.plan();
    let settled = context
        .store
        .put_json_create(&key, plan)
        .await
        .map_err(store_failure)?;
    if settled.ours {
        return Ok(());
    }
    Err(Failure::new(
        ExitCode::BadSpec,
        format!(
            "{key} in {} was made from other inputs: it holds {}, this run makes {}. Put the \
             model, the data, the worker's device and its CPU limit back as they were, or use \
             another run name",
            context.store.url(),
            String::from_utf8_lossy(&settled.stored),
            json!(plan)
        ),
    ))
}

/// sha256 of a JSON value's compact text, as hex. Only values made here are digested, whose keys
/// are written in one order.
pub(super) fn digest_of(value: &serde_json::Value) -> String {
    digest_bytes(value.to_string().as_bytes()).sha256
}
