//! The question to the runner, which knows models and devices.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use darwinlm_api::{PruningRun, parse_quantity};
use darwinlm_task::{DeviceRequest, ExitCode, Forecast, ForecastRequest, Rates, Task};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::cli::{Failure, store_url};
use crate::local::find_runner;
use crate::run_controller::validate::{Placement, VOLUMES, ValidatedRun, validate};

/// What a person asks for.
pub(super) struct Asked<'a> {
    pub(super) file: &'a Path,
    pub(super) run: &'a PruningRun,
    pub(super) volumes: BTreeMap<String, PathBuf>,
    pub(super) model: Option<&'a str>,
    pub(super) workers: Vec<u32>,
    pub(super) memory: Option<u64>,
    pub(super) rates: Option<Rates>,
}

impl Asked<'_> {
    /// Asks the runner.
    pub(super) async fn forecast(self) -> Result<(ValidatedRun, Forecast), Failure> {
        let run = self.validated()?;
        let mut chain = run.chain.clone();
        self.find_model(&mut chain)?;
        let on_cpu = run.device == DeviceRequest::Cpu;
        let limit = run.pods.resources.limits.get("memory");
        let limit = limit.filter(|_| on_cpu);
        let limit = limit.and_then(|limit| parse_quantity(&limit.0).ok());
        let request = ForecastRequest {
            chain,
            device: run.device,
            pruning_workers: run.pruning_workers,
            search_workers: run.search_workers,
            generations_per_job: run.generations_per_job,
            workers: self.workers,
            memory: self.memory.or(limit),
            rates: self.rates,
        };
        Ok((run, ask(&request).await?))
    }

    /// The run as a cluster would have it, or as this machine would. Claims that no folder stands for
    /// are taken as they are mounted in pods: nothing but the model is looked at here.
    fn validated(&self) -> Result<ValidatedRun, Failure> {
        let in_pods = validate(self.run, &Placement::Pods);
        let mut volumes = self.volumes.clone();
        if let Ok(run) = &in_pods {
            for claim in run.claims.keys() {
                let mounted = Path::new(VOLUMES).join(claim);
                volumes.entry(claim.clone()).or_insert(mounted);
            }
        }
        let store = None;
        let here = validate(self.run, &Placement::Local { volumes, store });
        let path = self.file.display();
        let mut here = here
            .map_err(|rejection| Failure::new(ExitCode::BadSpec, format!("{path}: {rejection}")))?;
        if let Ok(run) = in_pods {
            here.device = run.device;
        }
        Ok(here)
    }

    /// Puts the model's address where `--model` says, and sees that there is one.
    fn find_model(&self, chain: &mut [Task]) -> Result<(), Failure> {
        let models = chain.iter_mut().filter_map(|task| match task {
            Task::Prepare { model, .. } => Some(model),
            _ => None,
        });
        for model in models {
            if let Some(instead) = self.model {
                *model = store_url(instead)?;
            } else if model.starts_with(&format!("file://{VOLUMES}/")) {
                let source = &self.run.spec.model.source;
                let message = format!(
                    "spec.model.source {source:?} lies in a claim: say which folder stands for it with \
                     --volume, or where its config.json is with --model"
                );
                return Err(Failure::new(ExitCode::InputMissing, message));
            }
        }
        Ok(())
    }
}

/// Runs `darwinlm-runner forecast`; what it says while it measures is passed on.
async fn ask(request: &ForecastRequest) -> Result<Forecast, Failure> {
    let program = find_runner().map_err(|error| Failure::new(ExitCode::InputMissing, error))?;
    let failed = |error: &dyn std::fmt::Display| {
        let shown = program.display();
        Failure::new(ExitCode::Bug, format!("failed to run {shown}: {error}"))
    };
    let text = serde_json::to_vec(request).map_err(|error| failed(&error))?;
    let mut child = Command::new(&program)
        .arg("forecast")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    let mut input = child.stdin.take().expect("it is piped");
    let errors = child.stderr.take().expect("it is piped");
    let passed_on = tokio::spawn(pass_on(errors));
    // One that has ended before it has read everything says why itself.
    let _ = input.write_all(&text).await;
    drop(input);
    let output = child
        .wait_with_output()
        .await
        .map_err(|error| failed(&error))?;
    let last = passed_on.await.unwrap_or_default();
    if output.status.success() {
        return serde_json::from_slice(&output.stdout).map_err(|error| failed(&error));
    }
    let code = output
        .status
        .code()
        .and_then(|code| u8::try_from(code).ok());
    let mut message = last
        .strip_prefix("error: ")
        .map_or_else(|| format!("{}: {last}", output.status), str::to_owned);
    if request.rates.is_none() && message.contains("spec.worker.device") {
        message += "; or --rates with a table that `darwinlm plan --save-rates` has measured on such a device";
    }
    Err(Failure {
        code: code.unwrap_or(ExitCode::Bug.code()),
        message,
    })
}

/// Shows what is measured where a person looks on, and keeps the last line.
async fn pass_on(errors: tokio::process::ChildStderr) -> String {
    use std::io::IsTerminal as _;
    use tokio::io::{AsyncBufReadExt, BufReader};
    let (mut lines, mut last) = (BufReader::new(errors).lines(), String::new());
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with("measuring ") && std::io::stderr().is_terminal() {
            eprintln!("{line}");
        }
        last = line;
    }
    last
}
