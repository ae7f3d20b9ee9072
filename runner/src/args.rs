//! The command line, raw as it was typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Prunes large language models on libtorch.
#[derive(Debug, Parser)]
#[command(name = "darwinlm-runner", version, about, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Do the task in DARWINLM_TASK; what a Job's worker runs
    Work,
    /// Fill a level database from a model and calibration tokens
    #[command(
        after_help = "Example:\n  darwinlm-runner build-database --model models/smollm2 \
                            --tokens calibration.safetensors --levels 9 --out database --json"
    )]
    BuildDatabase(BuildDatabase),
    /// Measure a dense model, or a candidate of its level database
    #[command(
        after_help = "Example:\n  darwinlm-runner evaluate --model models/smollm2 --database \
                            database --level 5 --tokens validation.safetensors --json"
    )]
    Evaluate(Evaluate),
    /// Measure how fast this machine's device does what a run is made of, for `darwinlm plan --rates`
    #[command(
        after_help = "Example:\n  darwinlm-runner rates --model hf://HuggingFaceTB/SmolLM2-135M --device Cuda > h100.json"
    )]
    Rates(Rates),
    /// Say what a run will come to; what `darwinlm plan` asks. Reads a request as JSON from standard
    /// input, writes JSON
    Forecast,
    /// Write a checkpoint of a generation's survivor, as its search left it
    #[command(
        after_help = "Example:\n  darwinlm-runner export --store file:///srv/store --run local.tiny \
                            --generation 12 --out checkpoint"
    )]
    Export(Export),
}

/// How to compute; the defaults are those of a CPU worker.
#[derive(Debug, Args)]
pub struct Numerics {
    /// The device: Auto, Cpu or Cuda
    #[arg(long, default_value = "Auto", value_parser = device)]
    pub device: darwinlm_task::DeviceRequest,
    /// Threads of one operation on the CPU
    #[arg(long, default_value_t = darwinlm_task::NumericsPlan::DEFAULT_THREADS)]
    pub threads: u32,
}

/// `build-database`.
#[derive(Debug, Args)]
pub struct BuildDatabase {
    /// Folder with config.json and safetensors
    #[arg(long)]
    pub model: PathBuf,
    /// safetensors file with input_ids [sequences, length]
    #[arg(long)]
    pub tokens: PathBuf,
    /// JSON file with the units kept per level: {"attention": [9, …, 0], "mlp": [1536, …, 0]}
    #[arg(long, conflicts_with = "levels")]
    pub ladder: Option<PathBuf>,
    /// Levels above dense, evenly spaced
    #[arg(long, default_value_t = 10)]
    pub levels: u8,
    /// Intermediate columns are removed in multiples of this
    #[arg(long, default_value_t = 32)]
    pub mlp_granularity: u32,
    /// Thousandths of the mean diagonal that damp the Hessian
    #[arg(long, default_value_t = 10)]
    pub damping_permille: u32,
    /// Folder to write
    #[arg(long)]
    pub out: PathBuf,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// How to compute.
    #[command(flatten)]
    pub numerics: Numerics,
}

/// `rates`.
#[derive(Debug, Args)]
pub struct Rates {
    /// Address of the model, of which config.json alone is fetched: file:///…, hf://organisation/name
    #[arg(long)]
    pub model: String,
    /// Tokens of a sequence
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(3..))]
    pub sequence_length: u32,
    /// Levels above dense
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=35))]
    pub levels: u8,
    /// How to compute.
    #[command(flatten)]
    pub numerics: Numerics,
}

/// `evaluate`.
#[derive(Debug, Args)]
pub struct Evaluate {
    /// Folder with config.json and safetensors
    #[arg(long)]
    pub model: PathBuf,
    /// Level database of that model
    #[arg(long)]
    pub database: Option<PathBuf>,
    /// Every module at this level
    #[arg(long, requires = "database", conflicts_with = "genome")]
    pub level: Option<u8>,
    /// JSON file with a genome: {"attention": "5553…", "mlp": "4565…"}
    #[arg(long, requires = "database")]
    pub genome: Option<PathBuf>,
    /// safetensors file with input_ids [sequences, length]
    #[arg(long)]
    pub tokens: PathBuf,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// How to compute.
    #[command(flatten)]
    pub numerics: Numerics,
}

/// `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// URL of the store; nothing in it is changed
    #[arg(long)]
    pub store: String,
    /// The run, as <namespace>.<name>
    #[arg(long, value_parser = run)]
    pub run: darwinlm_task::RunIdentity,
    /// The generation, 0 for the start; the newest one if absent
    #[arg(long)]
    pub generation: Option<u32>,
    /// Folder to write
    #[arg(long)]
    pub out: PathBuf,
}

fn run(text: &str) -> Result<darwinlm_task::RunIdentity, String> {
    let (namespace, name) = text
        .split_once('.')
        .ok_or("accepted: <namespace>.<name>, such as local.tiny")?;
    Ok(darwinlm_task::RunIdentity {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: String::new(),
    })
}

fn device(text: &str) -> Result<darwinlm_task::DeviceRequest, String> {
    match text {
        "Auto" => Ok(darwinlm_task::DeviceRequest::Auto),
        "Cpu" => Ok(darwinlm_task::DeviceRequest::Cpu),
        "Cuda" => Ok(darwinlm_task::DeviceRequest::Cuda),
        _ => Err("accepted: Auto, Cpu, Cuda".to_owned()),
    }
}
