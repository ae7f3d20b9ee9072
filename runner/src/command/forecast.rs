//! `forecast`: what a run will come to, before anything of it is run.

use std::io::Read;
use std::path::Path;

use darwinlm_search::{LatencyTable, ModuleKind, PerKind, Shape};
use darwinlm_task::{
    DeviceClass, DeviceRequest, ExitCode, Forecast, ForecastRequest, MemoryForecast, NumericsPlan,
    PruningSpec, RATES_VERSION, Rates, TargetSpec, Task,
};
use tch::Device;
use tokio::task::block_in_place;

use super::compute::{ladders, open_device};
use super::{target, would_fit};
use crate::args;
use crate::failure::{Failure, OrFail};
use crate::forecast::{Run, Subject, measure, times};
use crate::latency::sizes as sizes_to_time;
use crate::memory::Sizes;
use crate::model::ModelConfig;
use crate::process;
use crate::scratch::Scratch;
use crate::sources::{Fetcher, ModelSource, Variables};

/// Answers the request on standard input.
pub(super) async fn forecast() -> Result<(), Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .or_fail(ExitCode::Usage, "failed to read standard input")?;
    let request: ForecastRequest =
        serde_json::from_str(&text).or_fail(ExitCode::Usage, "standard input holds no request")?;
    // Before the model is fetched: that takes as long as the network likes.
    let source = match &request.rates {
        Some(rates) => Source::Table(checked(rates, request.device)?),
        None => Source::Device(Opened::of(request.device)?),
    };
    let scratch = Scratch::make("forecast")?;
    let config = configuration(&request, scratch.path()).await?;
    let told = block_in_place(|| answer(&request, source, &config, scratch.path()))?;
    let text = serde_json::to_string(&told).or_fail(ExitCode::Bug, "a forecast is JSON")?;
    println!("{text}");
    Ok(())
}

/// The model's configuration: all that is fetched of it.
async fn configuration(request: &ForecastRequest, scratch: &Path) -> Result<ModelConfig, Failure> {
    let model = request.chain.iter().find_map(|task| match task {
        Task::Prepare { model, .. } => Some(model),
        _ => None,
    });
    let model = model.ok_or_else(|| incomplete("prepare"))?;
    fetched(model, scratch).await
}

/// The configuration of the model at an address.
async fn fetched(model: &str, scratch: &Path) -> Result<ModelConfig, Failure> {
    let fetcher = Fetcher {
        variables: Variables::of_this_process(),
        scratch: scratch.join("sources"),
        tell: &|_, _| {},
    };
    let failed = |error| super::prepare::source_failure("spec.model.source", error);
    let source = ModelSource::open(model, &fetcher).await.map_err(failed)?;
    source.fetch_configuration(&fetcher).await.map_err(failed)?;
    ModelConfig::open(source.folder()).or_fail(ExitCode::BadData, "the model is refused")
}

fn incomplete(task: &str) -> Failure {
    Failure::new(ExitCode::Usage, format!("the request has no task {task}"))
}

/// What of the chain decides how much there is to do.
struct Asked<'a> {
    data: &'a darwinlm_task::DataSpec,
    threads: Option<u32>,
    pruning: &'a PruningSpec,
    target: TargetSpec,
    settings: &'a darwinlm_task::SearchSettings,
}

fn asked(chain: &[Task]) -> Result<Asked<'_>, Failure> {
    let prepare = chain.iter().find_map(|task| match task {
        Task::Prepare { data, threads, .. } => Some((data, *threads)),
        _ => None,
    });
    let search = chain.iter().find_map(|task| match task {
        Task::Search {
            pruning,
            target,
            settings,
            ..
        } => Some((pruning, *target, settings)),
        _ => None,
    });
    let (data, threads) = prepare.ok_or_else(|| incomplete("prepare"))?;
    let (pruning, target, settings) = search.ok_or_else(|| incomplete("search"))?;
    Ok(Asked {
        data,
        threads,
        pruning,
        target,
        settings,
    })
}

fn answer(
    request: &ForecastRequest,
    source: Source,
    config: &ModelConfig,
    scratch: &Path,
) -> Result<Forecast, Failure> {
    let Asked {
        data,
        threads,
        pruning,
        target,
        settings,
    } = asked(&request.chain)?;
    let threads = threads.unwrap_or(NumericsPlan::DEFAULT_THREADS);
    let levels = u8::try_from(pruning.levels).or_fail(ExitCode::BadSpec, "spec.pruning.levels")?;
    let rates = match source {
        Source::Table(rates) => rates,
        Source::Device(opened) => {
            opened.rates(config, threads, data.sequence_length, levels, scratch)?
        }
    };
    let numerics = NumericsPlan::of(rates.device_class, threads);
    let shape = config.shape(pruning.attention_unit);
    let in_latency = pruning.spacing.is_measured() || target.is_measured();
    let table = in_latency
        .then(|| as_if_timed(&shape, pruning))
        .transpose()?;
    let ladders = ladders(&shape, pruning, table.as_ref())?;
    let start = target::check(&shape, &ladders, table.as_ref(), target)?;
    let run = Run {
        sizes: Sizes {
            windows: config.windows.clone(),
            numerics,
            sequence_length: data.sequence_length,
            batch_sequences: numerics.micro_batch_sequences,
            shape,
        },
        ladders,
        start,
        stored_bytes: stored_bytes(config),
        data,
        timed_sizes: table.as_ref().map(|_| timed_sizes(config, pruning)),
        settings,
        generations_per_job: request.generations_per_job,
        training: request.chain.iter().find_map(|task| match task {
            Task::PostTrain { training, .. } => Some(training),
            _ => None,
        }),
        evaluation: request.chain.iter().find_map(|task| match task {
            Task::Evaluate { evaluation, .. } => Some(evaluation),
            _ => None,
        }),
        export: request.chain.iter().find_map(|task| match task {
            Task::Export { export, .. } => Some(export),
            _ => None,
        }),
    };
    let available = request.memory.or(rates.memory);
    let capacity = available.filter(|_| rates.device_class == DeviceClass::Cuda);
    let own = (request.pruning_workers, request.search_workers);
    let others = request.workers.iter().map(|&workers| (workers, workers));
    Ok(Forecast {
        blocks: run.shape().blocks,
        dense_parameters: run.dense_parameters(),
        target_parameters: run.parameters(&run.start),
        search: run.search(),
        memory_available: available,
        memory: memory(request, &run, available),
        storage: run.storage(),
        times: [own]
            .into_iter()
            .chain(others)
            .map(|(pruning, search)| times(&run, &rates, capacity, pruning, search))
            .collect(),
        rates,
    })
}

/// The table, if it is one and of a device such as the run wants.
fn checked(rates: &Rates, wanted: DeviceRequest) -> Result<Rates, Failure> {
    if rates.version != RATES_VERSION {
        let found = rates.version;
        let message = format!("the table of rates has version {found}; accepted: {RATES_VERSION}");
        return Err(Failure::new(ExitCode::BadData, message));
    }
    let other = match wanted {
        DeviceRequest::Auto => None,
        DeviceRequest::Cpu => Some(("Cpu", DeviceClass::Cpu)),
        DeviceRequest::Cuda => Some(("Cuda", DeviceClass::Cuda)),
    };
    if let Some((word, class)) = other
        && rates.device_class != class
    {
        let (device, found) = (&rates.device, rates.device_class);
        let message = format!(
            "the table of rates is of {device} ({found:?}); the run computes on {word}: accepted is a \
             table that was measured on such a device"
        );
        return Err(Failure::new(ExitCode::BadData, message));
    }
    let all = [
        ("forward", rates.forward),
        ("score", rates.score),
        ("train", rates.train),
        ("trainOutput", rates.train_output),
        ("optimizer", rates.optimizer),
        ("hessian", rates.hessian),
        ("pruneAttention", rates.prune_attention),
        ("pruneMlp", rates.prune_mlp),
        ("copy", rates.copy),
        ("read", rates.read),
    ];
    match all
        .iter()
        .find(|(_, rate)| !(rate.is_finite() && *rate > 0.0))
    {
        None => Ok(rates.clone()),
        Some((name, found)) => Err(Failure::new(
            ExitCode::BadData,
            format!("the table of rates says {name} {found}; accepted: a number above 0"),
        )),
    }
}

/// Where rates come from.
enum Source {
    /// They were measured before.
    Table(Rates),
    /// They are measured here.
    Device(Opened),
}

/// A device, and the seconds from this process's start until it was open.
struct Opened {
    device: Device,
    class: DeviceClass,
    seconds: f64,
}

impl Opened {
    fn of(request: DeviceRequest) -> Result<Self, Failure> {
        let (device, class) = open_device(request)?;
        Ok(Self {
            device,
            class,
            seconds: process::started().elapsed().as_secs_f64(),
        })
    }

    /// Measures a model's shape on it.
    fn rates(
        &self,
        config: &ModelConfig,
        threads: u32,
        sequence_length: u32,
        levels: u8,
        scratch: &Path,
    ) -> Result<Rates, Failure> {
        let subject = Subject {
            config,
            numerics: &NumericsPlan::of(self.class, threads),
            sequence_length,
            levels,
            device: self.device,
            start_seconds: self.seconds,
            scratch,
        };
        let hear = |what: &str| eprintln!("measuring {what}");
        measure(subject, hear).or_fail(ExitCode::Bug, "failed to measure rates")
    }
}

/// `darwinlm-runner rates`: the table alone, for `darwinlm plan --rates` on another machine.
pub(super) async fn rates(arguments: args::Rates) -> Result<(), Failure> {
    // Before the model is fetched: that takes as long as the network likes.
    let opened = Opened::of(arguments.numerics.device)?;
    let scratch = Scratch::make("forecast")?;
    let config = fetched(&arguments.model, scratch.path()).await?;
    let args::Rates {
        sequence_length,
        levels,
        numerics,
        ..
    } = arguments;
    let rates = block_in_place(|| {
        opened.rates(
            &config,
            numerics.threads,
            sequence_length,
            levels,
            scratch.path(),
        )
    })?;
    let text = serde_json::to_string_pretty(&rates).or_fail(ExitCode::Bug, "rates are JSON")?;
    println!("{text}");
    Ok(())
}

/// A table of times as if a module took what it has parameters: nobody has measured the real one yet.
fn as_if_timed(shape: &Shape, pruning: &PruningSpec) -> Result<LatencyTable, Failure> {
    let sizes = match pruning.spacing.is_measured() {
        true => sizes_to_time(shape, pruning.mlp_granularity),
        false => {
            let ladders = ladders(shape, pruning, None)?;
            PerKind::of(|kind| ladders[kind].as_slice().to_vec())
        }
    };
    let times = PerKind::of(|kind| {
        let of = |&units: &u32| (units, shape.parameters_at(kind, units));
        sizes[kind].iter().map(of).collect()
    });
    let base = u64::from(shape.vocabulary) * u64::from(shape.hidden);
    LatencyTable::new(base, times).or_fail(ExitCode::Bug, "sizes make no table")
}

fn timed_sizes(config: &ModelConfig, pruning: &PruningSpec) -> u32 {
    let shape = config.shape(pruning.attention_unit);
    let sizes = sizes_to_time(&shape, pruning.mlp_granularity);
    let count = |kind| match pruning.spacing.is_measured() {
        true => u32::try_from(sizes[kind].len()).unwrap_or(u32::MAX),
        false => pruning.levels,
    };
    ModuleKind::ALL.into_iter().map(count).sum()
}

/// As the configuration names the type; bfloat16 where it does not.
fn stored_bytes(config: &ModelConfig) -> u64 {
    let named = ["dtype", "torch_dtype"].into_iter();
    let mut named = named.filter_map(|field| config.raw.get(field)?.as_str());
    match named.next_back() {
        Some("float32") => 4,
        _ => 2,
    }
}

fn memory(request: &ForecastRequest, run: &Run<'_>, available: Option<u64>) -> Vec<MemoryForecast> {
    let needs = request.chain.iter().filter_map(|task| {
        let need = would_fit::need(task, run.sizes.clone(), run.candidate())?;
        let bytes = (need.bytes)(&need.sizes);
        let lacks = available.is_some_and(|available| bytes > available);
        Some(MemoryForecast {
            task: task.kind(),
            bytes,
            does_not_fit: lacks.then(|| need.advice(available)),
        })
    });
    needs.collect()
}
