//! Where the model comes from, by digest, and how that is checked.

use std::collections::BTreeSet;

use darwinlm_report::grouped;
use darwinlm_search::Digest;
use darwinlm_task::{
    DeviceClass, Dtype, NumericsPlan, OptimizerPrecision, Plan, PostTrainingSpec, TargetSpec,
    TokenSlice, paths,
};

/// What the run recorded of itself.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// `<namespace>.<name>`.
    pub run: String,
    /// Head of the search's hash chain.
    pub ledger: Digest,
    /// Generations in the ledger.
    pub generations: u32,
    /// Seed of everything random.
    pub seed: u64,
    /// What every genome kept to.
    pub target: TargetSpec,
    /// How it was trained after the search, if it was.
    pub training: Option<PostTrainingSpec>,
    /// The `databases/<digest>` of the levels.
    pub database: String,
    /// sha256 of that folder's manifest, which names every file by its own.
    pub database_manifest: Digest,
    /// What `prepare` fixed: model, tokens, numerics.
    pub plan: Plan,
    /// Device classes that computed the trials.
    pub devices: BTreeSet<DeviceClass>,
    /// Version of the runner that wrote the folder.
    pub runner: &'static str,
}

impl Provenance {
    pub(super) fn text(&self) -> String {
        let Self {
            run,
            ledger,
            generations,
            seed,
            target,
            training,
            database,
            database_manifest,
            plan,
            devices,
            runner,
        } = self;
        let devices: Vec<&str> = devices.iter().copied().map(device).collect();
        let mut rows = vec![
            ("run", run.clone()),
            ("ledger", format!("`{ledger}`, {generations} generations")),
            ("seed", seed.to_string()),
            ("target", wanted(*target)),
            (
                "post-training",
                training.as_ref().map_or_else(|| "none".to_owned(), trained),
            ),
            ("dense model", format!("`{}`", paths::model(&plan.model))),
            ("level database", format!("`{}`", paths::database(database))),
            ("its manifest", format!("`{database_manifest}`")),
            ("tokens", format!("`{}`", paths::tokens(&plan.tokens))),
        ];
        let fetched = plan.fetched.iter();
        rows.extend(fetched.map(|one| (one.field.as_str(), format!("`{}`", one.from))));
        for slice in TokenSlice::ALL {
            let tokens = plan.slice(slice);
            let (sequences, length) = (tokens.sequences, tokens.sequence_length);
            let said = format!("`sha256:{}`, {sequences} × {length}", tokens.sha256);
            rows.push((slice.name(), said));
        }
        rows.push(("numerics", numerics(&plan.numerics)));
        if !devices.is_empty() {
            rows.push(("trials computed on", devices.join(", ")));
        }
        rows.push(("written by", format!("darwinlm-runner {runner}")));
        let rows = rows.into_iter().map(|(k, v)| format!("| {k} | {v} |\n"));
        format!(
            "## Provenance\n\n| | |\n|---|---|\n{}\n\
             Folders are keys in the run's store, named by the digest of what made them. With that store at `STORE`,\n\n```sh\ndarwinlm verify STORE --run {run}\n```\n\n\
             replays every mutation, selection and digest of the search without the model, checks the \
             sha256 of the\nmodel, the tokens and the level database, and prints the ledger's digest last. \
             The same spec on the same\nmodel and data, on one device class and libtorch, gives that \
             digest again. `darwinlm.json` in this folder\nholds the sha256 of its files.\n",
            rows.collect::<String>()
        )
    }
}

fn wanted(target: TargetSpec) -> String {
    match target {
        TargetSpec::Level(level) => format!("the level sums of uniform level {level}"),
        TargetSpec::Parameters(parameters) => {
            format!("at most {} parameters", grouped(parameters))
        }
        TargetSpec::SparsityPercent(percent) => {
            format!("at least {percent} % of the parameters removed")
        }
        TargetSpec::SpeedupPercent(percent) => format!(
            "at least {}.{:02} times as fast as the dense model, in the run's table of latencies",
            percent / 100,
            percent % 100
        ),
    }
}

fn trained(training: &PostTrainingSpec) -> String {
    let PostTrainingSpec {
        tokens,
        sequence_length,
        batch_sequences,
        learning_rate,
        warmup_percent,
        final_learning_rate_percent,
        weight_decay,
        gradient_norm,
        distillation_percent,
        checkpoint_every_tokens: _,
    } = training;
    let loss = match distillation_percent {
        0 => "cross-entropy".to_owned(),
        100 => "KL to the dense model".to_owned(),
        share => format!("{share} % KL to the dense model, the rest cross-entropy"),
    };
    format!(
        "{} tokens, {batch_sequences} × {sequence_length} a step; AdamW, learning rate \
         {learning_rate} after {warmup_percent} % warm-up, cosine to {final_learning_rate_percent} %, \
         weight decay {weight_decay}, gradient norm {gradient_norm}; {loss}",
        grouped(*tokens)
    )
}

fn numerics(plan: &NumericsPlan) -> String {
    let NumericsPlan {
        dtype,
        threads,
        micro_batch_sequences,
        hessian_batch_sequences,
        logit_chunk_tokens,
        optimizer_precision,
        device_class,
    } = plan;
    let dtype = match dtype {
        Dtype::Float32 => "float32",
        Dtype::BFloat16 => "bfloat16",
    };
    let optimizer = match optimizer_precision {
        OptimizerPrecision::Float32Masters => "float32 master weights",
        OptimizerPrecision::StochasticRounding => "stochastic rounding",
    };
    format!(
        "{dtype}, {optimizer}, {threads} threads, micro-batch {micro_batch_sequences}, Hessian batch \
         {hessian_batch_sequences}, logits {logit_chunk_tokens} tokens at a time, planned for {}",
        device(*device_class)
    )
}

fn device(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::Cpu => "CPU",
        DeviceClass::Cuda => "CUDA",
    }
}
