//! `darwinlm plan`: what a run will come to, before a GPU is held for it.

mod ask;
mod record;
mod table;

use std::io::Write;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;
use darwinlm_api::{check, parse_quantity};
use darwinlm_task::{ExitCode, Forecast, Rates};

use super::cluster::Place;
use super::run::{read, refused, volume, volumes};
use super::{Failure, text};

pub(super) const EXAMPLES: &str = "\
Examples:
  darwinlm plan -f run.yaml --volume data=/srv/data
      pvc://data/… in run.yaml is what lies in /srv/data; of the model, config.json is enough
  darwinlm plan -f run.yaml --model ./llama --rates h100.json --memory 80Gi
      times by a table that was measured on an H100
  darwinlm plan -f run.yaml --save-rates h100.json
      on a machine with that GPU: measures the table, in a minute
  darwinlm plan -f run.yaml --model ./llama --apply -n research
      applies the run if it fits, with what it is expected to take: its status then says how far that was off

Without --rates, a few blocks of random weights are timed on the device of this machine. Times are those of computing:
pulling images, waiting for nodes and a store far away come on top. A CPU counts as a GPU, as it does in status.gpuHours.
Needs the runner, which `make build` leaves beside this command; where only the runner is, as in its image,
`darwinlm-runner rates` measures the table.
Ends with 12 if a task needs more memory than there is, 65 if the rates are of another kind of device, 66 if something is not
found, 78 if the target cannot be met or the device does not work here.";

#[derive(Debug, Args)]
pub(super) struct Plan {
    /// File with the PruningRun
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The folder that stands for a claim; once for every claim
    #[arg(long = "volume", value_name = "CLAIM=DIR", value_parser = volume)]
    volumes: Vec<(String, PathBuf)>,
    /// Folder or address with the model's config.json, instead of spec.model.source
    #[arg(long, value_name = "DIR|URL")]
    model: Option<String>,
    /// Numbers of workers to compare with the spec's own
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1,2,4,8,16"
    )]
    workers: Vec<NonZeroU32>,
    /// Memory of a worker's device, such as 80Gi; by default what the rates' device has, or the
    /// memory limit of a worker that computes on the CPU
    #[arg(long, value_name = "QUANTITY", value_parser = quantity)]
    memory: Option<u64>,
    /// Table of rates to go by, instead of measuring here
    #[arg(long, value_name = "FILE")]
    rates: Option<PathBuf>,
    /// Where to write the table of rates that was measured here
    #[arg(long, value_name = "FILE", conflicts_with = "rates")]
    save_rates: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Apply the run to the cluster if it fits, with the forecast in an annotation
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    place: Place,
}

/// Prints the forecast; fails where the run does not fit.
pub(super) async fn plan(arguments: Plan) -> Result<(), Failure> {
    let written = read(&arguments.file)?;
    let run = check(&written).map_err(|broken| refused(&arguments.file, &broken))?;
    let rates = arguments.rates.as_deref().map(read_rates).transpose()?;
    let asked = ask::Asked {
        file: &arguments.file,
        run: &run,
        volumes: volumes(&arguments.volumes)?,
        model: arguments.model.as_deref(),
        workers: arguments.workers.iter().map(|count| count.get()).collect(),
        memory: arguments.memory,
        rates,
    };
    let (validated, forecast) = asked.forecast().await?;
    if let Some(path) = &arguments.save_rates {
        save_rates(path, &forecast.rates)?;
    }
    let page = match arguments.json {
        true => {
            serde_json::to_string(&forecast).map_err(|error| Failure::new(ExitCode::Bug, error))?
                + "\n"
        }
        false => table::page(&validated, &forecast),
    };
    // Who reads no further has seen enough.
    let _ = std::io::stdout().write_all(page.as_bytes());
    refuse_what_does_not_fit(&forecast)?;
    if arguments.apply {
        record::apply(arguments.place, written, &forecast).await?;
    }
    Ok(())
}

fn refuse_what_does_not_fit(forecast: &Forecast) -> Result<(), Failure> {
    let lacking = forecast.memory.iter().filter_map(|of_task| {
        let words = of_task.does_not_fit.as_ref()?;
        Some(format!("{}: {words}", of_task.task))
    });
    let lacking: Vec<_> = lacking.collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let message = format!("the run does not fit: {}", lacking.join("; "));
    Err(Failure::new(ExitCode::OutOfMemory, message))
}

fn quantity(text: &str) -> Result<u64, String> {
    parse_quantity(text).map_err(|error| error.to_string())
}

fn read_rates(path: &std::path::Path) -> Result<Rates, Failure> {
    let shown = path.display();
    serde_json::from_str(&text(path)?).map_err(|error| {
        let message = format!("{shown} is no table of rates of --save-rates: {error}");
        Failure::new(ExitCode::BadData, message)
    })
}

fn save_rates(path: &std::path::Path, rates: &Rates) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(rates).map_err(|error| Failure::new(ExitCode::Bug, error))?;
    super::report::write(path, &(text + "\n")).map_err(|error| {
        let shown = path.display();
        Failure::new(ExitCode::Usage, format!("failed to write {shown}: {error}"))
    })
}
