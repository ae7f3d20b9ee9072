//! `search`: the trials of a worker, from the database and the tokens to outcomes.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use darwinlm_search::{
    Digest, Minibatch, Pins, Problem, Schedule, SearchError, Survivor, Trial, start,
};
use darwinlm_store::{
    Folder, Ledger, LedgerError, Ran, TrialError, TrialRunner, Validation, Validations, WorkEnd,
    WorkError, WorkOptions, work,
};
use darwinlm_task::{
    DeviceClass, ExitCode, FailureReason, NumericsPlan, PruningSpec, SearchReport, SearchSettings,
    TargetSpec, TokenSlice,
};
use tokio::sync::watch;

use super::compute::Prepared;
use super::context::{Context, Ended, store_failure};
use super::evaluate::{Pool, quality};
use super::target;
use crate::database::{Database, Manifest};
use crate::device::{self, set_threads};
use crate::failure::{Failure, OrFail};
use crate::fitness::BothMeasures;
use crate::metrics::{Metrics, Tried};
use crate::model::DenseModel;
use crate::progress::Reporter;
use crate::stitch::stitch;
use crate::tokens::Sequences;
use crate::trial::{self, TrialContext, TrialProgress, TrialSettings, run_trial};

/// How often a worker without work looks for the results of others.
const POLL: Duration = Duration::from_millis(250);

/// Where a search Job ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) until_generation: u32,
    pub(super) budget_gpu_seconds: Option<u64>,
}

/// Works on the search until the ledger holds what was asked for.
pub(super) async fn task(
    context: &Context,
    pruning: &PruningSpec,
    target: TargetSpec,
    settings: &SearchSettings,
    limits: Limits,
) -> Result<Ended, Failure> {
    let prepared = Prepared::open(context).await?;
    let (database, folder) = prepared.database(context, pruning).await?;
    let problem = problem(&prepared, database.manifest(), &folder, target, settings)?;
    let dense = prepared.dense(context).await?;
    let pool = async |slice| {
        let tokens = prepared.sequences(context, slice, &dense).await?;
        let teacher = prepared.teacher(context, slice, &tokens, &dense).await?;
        Ok::<_, Failure>(Pool { tokens, teacher })
    };
    let trial_settings =
        TrialSettings::new(prepared.numerics(), &problem.optimizer, problem.fitness)
            .or_fail(ExitCode::BadSpec, "spec.search cannot be carried out")?;
    let trials = Trials {
        training: prepared
            .sequences(context, TokenSlice::Training, &dense)
            .await?,
        fitness: pool(TokenSlice::Fitness).await?,
        validation: pool(TokenSlice::Validation).await?,
        dense,
        database,
        settings: trial_settings,
        numerics: *prepared.numerics(),
        device_class: prepared.device_class,
        cancel: Arc::clone(&context.stop.flag),
        metrics: context.metrics.clone(),
        reporter: context.reporter.clone(),
    };
    let steps = u32::try_from(settings.steps.len());
    context
        .metrics
        .searches(steps.expect("a search has at most ten steps"));
    let (progress, heard) = watch::channel(None);
    let listening = tokio::spawn(listen(
        heard,
        context.reporter.clone(),
        context.metrics.clone(),
    ));
    let options = WorkOptions {
        worker: context.worker.clone(),
        until_generation: limits.until_generation,
        budget_gpu_seconds: limits.budget_gpu_seconds,
        times: context.times,
        poll: POLL,
        progress,
        stop: context.stop.watch.clone(),
    };
    let worked = work(
        &context.store,
        &context.paths,
        &problem,
        trials,
        &context.timesheet,
        options,
    )
    .await;
    listening.abort();
    let worked = worked.map_err(work_failure)?;
    context
        .reporter
        .update(|report| report.search = Some(worked.report));
    Ok(match worked.end {
        WorkEnd::Done => Ended::Done,
        WorkEnd::BudgetSpent => Ended::BudgetSpent,
        WorkEnd::Stopped => Ended::Stopped,
    })
}

fn work_failure(error: WorkError) -> Failure {
    let reason = match &error {
        WorkError::Search(SearchError::TooFewFinite { .. }) => FailureReason::NonFinite.as_str(),
        WorkError::Ledger(LedgerError::Conflict(_)) => FailureReason::LedgerConflict.as_str(),
        _ => error.exit_code().reason(),
    };
    Failure::because(error.exit_code(), reason, error)
}

/// Passes on where the search stands, until the work ends.
async fn listen(
    mut heard: watch::Receiver<Option<SearchReport>>,
    reporter: Reporter,
    metrics: Metrics,
) {
    while heard.changed().await.is_ok() {
        let now = heard.borrow_and_update().clone();
        if let Some(SearchReport { generation, .. }) = &now {
            metrics.generation.set(i64::from(*generation));
        }
        reporter.update(|report| report.search = now);
    }
}

/// Everything that decides the search: the content of ledger entry 0.
pub(super) fn problem(
    prepared: &Prepared,
    about: &Manifest,
    folder: &Folder,
    target: TargetSpec,
    settings: &SearchSettings,
) -> Result<Problem, Failure> {
    let latency = prepared.latency.as_ref();
    let table = latency.map(|latency| &latency.stored.table);
    let costs = target::costs(&about.shape, &about.ladders, table, target)?;
    let target = target::resolve(target, &costs, table, about.shape.blocks)?;
    let errors: Vec<Vec<f64>> = about
        .modules
        .iter()
        .map(|entry| entry.errors.clone())
        .collect();
    let first = start(target, about.shape.blocks, &about.ladders, &costs, &errors)
        .or_fail(ExitCode::BadSpec, "spec.target cannot be met")?;
    let steps = Schedule::new(settings.steps.clone())
        .or_fail(ExitCode::BadSpec, "spec.search.steps cannot be carried out")?;
    let pool = |slice| {
        let planned = prepared.plan.slice(slice);
        darwinlm_search::Pool {
            sequences: planned.sequences,
            sequence_length: planned.sequence_length,
        }
    };
    let pin = |hex: &str| -> Result<Digest, Failure> {
        format!("sha256:{hex}")
            .parse()
            .or_fail(ExitCode::BadData, "plan.json holds no digest")
    };
    let numerics = serde_json::to_vec(prepared.numerics())
        .or_fail(ExitCode::Bug, "a numerics plan is JSON")?;
    Ok(Problem {
        seed: settings.seed,
        shape: about.shape.clone(),
        ladders: about.ladders.clone(),
        costs,
        target,
        start: first,
        exchange: settings.exchange,
        generations: settings.generations,
        offspring: settings.offspring,
        steps,
        fitness: settings.fitness,
        continue_training: settings.continue_training,
        optimizer: settings.optimizer.clone(),
        training_pool: pool(TokenSlice::Training),
        fitness_pool: pool(TokenSlice::Fitness),
        pins: Pins {
            training_tokens: pin(&prepared.plan.training.sha256)?,
            fitness_tokens: pin(&prepared.plan.fitness.sha256)?,
            numerics_plan: Digest::of(&numerics),
            level_database: pin(folder.sha256())?,
            latency_table: latency.map(|latency| pin(&latency.sha256)).transpose()?,
        },
    })
}

/// What the search has found.
pub(super) struct Found {
    pub(super) survivor: Survivor,
    /// Generations in the ledger.
    pub(super) generation: u32,
    /// Head of the hash chain.
    pub(super) digest: Digest,
}

/// The survivor of the whole ledger, replayed; the report says where it stands.
pub(super) async fn found(context: &Context, problem: &Problem) -> Result<Found, Failure> {
    let ledger = Ledger::new(&context.store, &context.paths);
    let (replay, mut history) = ledger
        .history(problem)
        .await
        .map_err(|error| Failure::new(error.exit_code(), error))?;
    let validations = Validations::new(&context.store, &context.paths);
    for survivor in history.not_validated() {
        let known = validations.get(survivor.born_in_generation).await;
        if let Some(record) = known.map_err(store_failure)? {
            history.validated(record);
        }
    }
    context
        .reporter
        .update(|report| report.search = Some(history.report()));
    Ok(Found {
        survivor: replay.search.survivor().clone(),
        generation: history.report().generation,
        digest: replay.search.digest(),
    })
}

/// The trials of one worker; owned by the thread that computes.
struct Trials {
    dense: DenseModel,
    database: Database,
    training: Sequences,
    fitness: Pool,
    validation: Pool,
    settings: TrialSettings,
    numerics: NumericsPlan,
    device_class: DeviceClass,
    cancel: Arc<AtomicBool>,
    metrics: Metrics,
    reporter: Reporter,
}

impl TrialRunner for Trials {
    fn run(&mut self, trial: &Trial, _: &Problem) -> Result<Ran, TrialError> {
        let ran = self.again_if_full(|trials| trials.compute(trial));
        self.metrics.tried(trial.id.step, Tried::of(&ran));
        ran.map_err(exception)
    }

    fn validate(
        &mut self,
        survivor: &Survivor,
        _: &Problem,
    ) -> Result<Option<Validation>, TrialError> {
        self.again_if_full(|trials| trials.measure(survivor).map(Some))
            .map_err(exception)
    }
}

impl Trials {
    /// Does some work once more where memory ran out: it may have lain in pieces, or been held by
    /// another process for a moment. What does not fit then does not fit.
    fn again_if_full<T>(
        &self,
        work: impl Fn(&Self) -> Result<T, trial::TrialError>,
    ) -> Result<T, trial::TrialError> {
        let first = match work(self) {
            Err(error @ trial::TrialError::OutOfMemory { .. }) => error,
            ended => return ended,
        };
        tracing::warn!(error = %first, "memory ran out: once more, with what is kept given back");
        device::give_back(self.dense.model.device());
        work(self)
    }

    fn compute(&self, trial: &Trial) -> Result<Ran, trial::TrialError> {
        set_threads(self.numerics.threads);
        let started = Instant::now();
        let (mut tokens_trained, mut tokens_scored) = (0, 0);
        let context = TrialContext {
            dense: &self.dense,
            database: &self.database,
            training: &self.training,
            fitness: &self.fitness.tokens,
            teacher: Some(&self.fitness.teacher),
            settings: self.settings,
        };
        let metrics = &self.metrics;
        let mut hear = |progress| {
            self.reporter.moved();
            match progress {
                TrialProgress::Trained(work) => {
                    tokens_trained += work.tokens;
                    metrics.trained(work);
                }
                TrialProgress::Scored(work) => {
                    tokens_scored += work.tokens;
                    metrics.scored(work);
                }
            }
        };
        let outcome = run_trial(&context, trial, &self.cancel, &mut hear)?;
        let seconds = started.elapsed().as_secs_f64();
        metrics.trial_seconds.observe(seconds);
        let device_class = self.device_class;
        Ok(Ran {
            outcome,
            tokens_trained,
            tokens_scored,
            seconds,
            device_class,
        })
    }

    fn measure(&self, survivor: &Survivor) -> Result<Validation, trial::TrialError> {
        set_threads(self.numerics.threads);
        let hear = &mut |work| self.metrics.scored(work);
        trial::guarded(|| {
            let model = stitch(&self.dense, &self.database, &survivor.genome)?;
            let BothMeasures { kl, perplexity } =
                quality(&model, &self.validation, &self.numerics, &self.cancel, hear)?;
            Ok(Validation { kl, perplexity })
        })
    }
}

fn exception(error: trial::TrialError) -> TrialError {
    match error {
        trial::TrialError::OutOfMemory { message } => TrialError::OutOfMemory { message },
        other => TrialError::Exception {
            message: format!("{:#}", anyhow::Error::new(other)),
        },
    }
}

/// All tokens of a slice, in order.
pub(super) fn whole(tokens: &Sequences) -> Minibatch {
    Minibatch {
        sequences: (0..tokens.count()).collect(),
        tokens: u64::from(tokens.count()) * u64::from(tokens.length()),
    }
}
