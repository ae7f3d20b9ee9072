//! `evaluate`: dense, uniform and survivor side by side on held-out tokens.

pub(super) mod latency;
mod stored;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use darwinlm_search::{FitnessKind, Genome, Level, Problem};
use darwinlm_store::open_folder;
use darwinlm_task::{
    EvaluationReport, EvaluationSpec, ExitCode, LatencyWorkload, Measured, NumericsPlan,
    PostTrainingSpec, PruningSpec, SearchSettings, TargetSpec, TokenSlice,
};
use serde_json::json;
use tokio::task::block_in_place;

use super::build_database::folder_store;
use super::compute::{Prepared, open_database, open_device};
use super::context::{Context, Ended, store_failure};
use super::post_train::{open_trained, training_digest};
use super::search::{found, problem, whole};
use crate::args;
use crate::database::Database;
use crate::device::{kind, set_threads};
use crate::failure::{Failure, OrFail};
use crate::fitness::{BothMeasures, FitnessError, ScoreSettings, Scorer, Teacher, write_teacher};
use crate::flops::Work;
use crate::model::{DenseModel, Model};
use crate::no_grad::no_grad;
use crate::stitch::stitch;
use crate::tokens::Sequences;

pub(super) use stored::{Evaluated, Evaluation};

/// Forward passes of which the median is the speed.
const SPEED_PASSES: usize = 5;

/// Tokens with the dense model's states over them.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) tokens: Sequences,
    pub(super) teacher: Teacher,
}

/// Figures of a model on a pool.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    /// Perplexity, and KL divergence from the dense model.
    quality: BothMeasures,
    /// Tokens of a forward pass in a second, prompt-like: logits of the last token alone.
    tokens_per_second: f64,
}

/// Measures how good and how fast a model is.
fn measure(
    model: &Model,
    pool: &Pool,
    numerics: &NumericsPlan,
    cancel: &AtomicBool,
    hear: &mut dyn FnMut(Work),
) -> Result<Figures, FitnessError> {
    Ok(Figures {
        quality: quality(model, pool, numerics, cancel, hear)?,
        tokens_per_second: forward_speed(model, &pool.tokens, numerics)?,
    })
}

/// Scores a model on all of a pool; `hear` is told of every batch.
pub(super) fn quality(
    model: &Model,
    pool: &Pool,
    numerics: &NumericsPlan,
    cancel: &AtomicBool,
    hear: &mut dyn FnMut(Work),
) -> Result<BothMeasures, FitnessError> {
    let minibatch = whole(&pool.tokens);
    let settings = ScoreSettings {
        kind: FitnessKind::KullbackLeibler,
        micro_batch_sequences: numerics.micro_batch_sequences,
        logit_chunk_tokens: numerics.logit_chunk_tokens,
    };
    let scorer = Scorer {
        pool: &pool.tokens,
        teacher: Some(&pool.teacher),
        settings,
    };
    scorer.both(model, &minibatch, cancel, hear)
}

/// Tokens of a plain forward pass in a second: the median of a few sequences, weights warm.
fn forward_speed(
    model: &Model,
    tokens: &Sequences,
    numerics: &NumericsPlan,
) -> Result<f64, FitnessError> {
    let batch: Vec<u32> = (0..numerics.micro_batch_sequences.min(tokens.count())).collect();
    let ids_BT = tokens.batch(&batch, tokens.length(), model.device());
    let mut seconds: Vec<f64> = (0..SPEED_PASSES)
        .map(|_| {
            let started = Instant::now();
            no_grad(|| {
                let hidden_BTD = model.hidden_states(&ids_BT);
                let last_BD = hidden_BTD.f_select(1, -1)?;
                // Read back: on a device the clock would stop before the work does.
                model
                    .logits(&last_BD)
                    .f_sum(tch::Kind::Float)?
                    .f_double_value(&[])
            })?;
            Ok(started.elapsed().as_secs_f64())
        })
        .collect::<Result<_, FitnessError>>()?;
    seconds.sort_by(f64::total_cmp);
    Ok(ids_BT.numel() as f64 / seconds[seconds.len() / 2])
}

/// Compares dense, uniform and survivor, and writes `evaluation.json`.
pub(super) async fn task(
    context: &Context,
    pruning: &PruningSpec,
    target: TargetSpec,
    settings: &SearchSettings,
    training: Option<&PostTrainingSpec>,
    EvaluationSpec { latency }: &EvaluationSpec,
) -> Result<Ended, Failure> {
    let prepared = Prepared::open(context).await?;
    let (database, folder) = prepared.database(context, pruning).await?;
    let problem = problem(&prepared, database.manifest(), &folder, target, settings)?;
    let found = found(context, &problem).await?;
    let training = training.map(|training| training_digest(&prepared, &found, training));
    let of = Evaluated::new(&found, training.clone());
    let known = Evaluation::stored(context).await?;
    let serves = |known: &Evaluation| known.of == of && latency::holds(*latency, &known.report);
    let report = match known.filter(serves) {
        Some(known) => known.report,
        None => {
            let subjects = [
                Subject::untrained(&Genome::uniform(problem.shape.blocks, Level::DENSE)),
                Subject::untrained(&problem.start),
                Subject::untrained(&found.survivor.genome),
            ]
            .into_iter()
            .chain(training.map(|digest| Subject {
                genome: found.survivor.genome.clone(),
                training: Some(digest),
            }));
            let subjects: Vec<Subject> = subjects.collect();
            let asked = *latency;
            let Some(report) =
                compare(context, &prepared, &database, &problem, &subjects, asked).await?
            else {
                return Ok(Ended::Stopped);
            };
            let report = Evaluation { of, report }.store(context).await?;
            context.timesheet.kept();
            report
        }
    };
    context
        .reporter
        .update(|whole| whole.evaluation = Some(report));
    Ok(Ended::Done)
}

/// A model to measure.
struct Subject {
    genome: Genome,
    /// The digest of its training, if it is measured trained.
    training: Option<String>,
}

impl Subject {
    fn untrained(genome: &Genome) -> Self {
        Self {
            genome: genome.clone(),
            training: None,
        }
    }
}

/// `None` when told to stop.
async fn compare(
    context: &Context,
    prepared: &Prepared,
    database: &Database,
    problem: &Problem,
    subjects: &[Subject],
    workload: Option<LatencyWorkload>,
) -> Result<Option<EvaluationReport>, Failure> {
    let dense = prepared.dense(context).await?;
    if let Some(workload) = workload {
        latency::check(workload, &dense.config)?;
    }
    let tokens = prepared
        .sequences(context, TokenSlice::Validation, &dense)
        .await?;
    let teacher = prepared
        .teacher(context, TokenSlice::Validation, &tokens, &dense)
        .await?;
    let pool = Pool { tokens, teacher };
    context.timesheet.computing();
    let deepest = database.manifest().ladders.deepest();
    let mut measured = Vec::new();
    for Subject { genome, training } in subjects {
        genome
            .fit(problem.shape.blocks, deepest)
            .or_fail(ExitCode::BadData, "a genome is wrong")?;
        context
            .reporter
            .progress(measured.len() as u64, subjects.len() as u64, "models");
        let mut model = block_in_place(|| stitch(&dense, database, genome))
            .or_fail(ExitCode::BadData, "failed to assemble a model")?;
        if let Some(digest) = training {
            model = open_trained(context, digest, &model).await?;
        }
        let figures = block_in_place(|| {
            let mut hear = |work| context.metrics.scored(work);
            let (numerics, stop) = (prepared.numerics(), &context.stop.flag);
            match measure(&model, &pool, numerics, stop, &mut hear) {
                Err(FitnessError::Cancelled) => Ok(None),
                other => {
                    let figures = other.or_fail(ExitCode::Bug, "failed to measure a model")?;
                    Ok(Some(shown(&figures, problem.parameters(genome))))
                }
            }
        })?;
        let Some(figures) = figures else {
            return Ok(None);
        };
        measured.push(figures);
    }
    let mut latency = None;
    if let Some(workload) = workload {
        // Training changes weights, not sizes: how fast the survivor is was decided by the search.
        let pruned = stitch(&dense, database, &subjects[2].genome)
            .or_fail(ExitCode::BadData, "failed to assemble a model")?;
        latency = latency::measure(context, prepared, &dense, &pruned, &pool.tokens, workload)?;
        if latency.is_none() {
            return Ok(None);
        }
    }
    let mut measured = measured.into_iter();
    let mut next = || measured.next().expect("every model was measured");
    Ok(Some(EvaluationReport {
        dense: next(),
        uniform: next(),
        pruned: next(),
        trained: measured.next(),
        latency,
    }))
}

fn shown(figures: &Figures, parameters: u64) -> Measured {
    let BothMeasures { kl, perplexity } = figures.quality;
    Measured {
        parameters,
        perplexity: format!("{perplexity:.4}"),
        kl: format!("{kl:.6}"),
        tokens_per_second: format!("{:.1}", figures.tokens_per_second),
    }
}

/// `darwinlm-runner evaluate`: one model, for people and scripts.
pub(super) async fn by_hand(arguments: args::Evaluate) -> Result<(), Failure> {
    let (device, class) = open_device(arguments.numerics.device)?;
    let numerics = NumericsPlan::of(class, arguments.numerics.threads);
    set_threads(numerics.threads);
    let dense = block_in_place(|| DenseModel::open(&arguments.model, kind(numerics.dtype), device))
        .or_fail(ExitCode::BadData, "failed to load the dense model")?;
    let tokens = block_in_place(|| Sequences::open(&arguments.tokens, dense.config.vocabulary))
        .or_fail(ExitCode::BadData, "failed to read --tokens")?;
    let candidate = match &arguments.database {
        None => None,
        Some(folder) => {
            if !folder.is_dir() {
                return Err(Failure::new(
                    ExitCode::InputMissing,
                    format!("--database {} is no folder", folder.display()),
                ));
            }
            let (store, key) = folder_store(folder)?;
            let stored = open_folder(&store, &key).await.map_err(store_failure)?;
            let stored = stored.ok_or_else(|| {
                Failure::new(
                    ExitCode::InputMissing,
                    format!(
                        "--database {} holds no complete level database",
                        folder.display()
                    ),
                )
            })?;
            let database = open_database(&stored, &std::env::temp_dir()).await?;
            let genome = genome(&arguments, database.manifest().shape.blocks)?;
            let model = stitch(&dense, &database, &genome)
                .or_fail(ExitCode::BadSpec, "failed to assemble the candidate")?;
            // As the search counts them: the norm of a removed module stays counted.
            Some((model, database.manifest().costs.of_genome(&genome)))
        }
    };
    let (model, parameters) = match &candidate {
        Some((model, parameters)) => (model, *parameters),
        None => (&dense.model, dense.model.parameters()),
    };
    let figures = block_in_place(|| with_teacher(&dense, tokens, &numerics, model))?;
    print(&figures, parameters, arguments.json);
    Ok(())
}

fn genome(arguments: &args::Evaluate, blocks: u32) -> Result<Genome, Failure> {
    if let Some(path) = &arguments.genome {
        let text = std::fs::read(path).or_fail(
            ExitCode::InputMissing,
            format!("failed to read {}", path.display()),
        )?;
        return serde_json::from_slice(&text).or_fail(
            ExitCode::BadData,
            format!("{} is no genome", path.display()),
        );
    }
    let level = arguments.level.ok_or_else(|| {
        Failure::new(
            ExitCode::Usage,
            "--database needs --level N or --genome FILE",
        )
    })?;
    let level = Level::new(level).or_fail(ExitCode::Usage, "--level")?;
    Ok(Genome::uniform(blocks, level))
}

/// Measures with a teacher that lives in a temporary file, as a run's lives in the store.
fn with_teacher(
    dense: &DenseModel,
    tokens: Sequences,
    numerics: &NumericsPlan,
    model: &Model,
) -> Result<Figures, Failure> {
    let never = AtomicBool::new(false);
    let path = std::env::temp_dir().join(format!("darwinlm-teacher-{}", std::process::id()));
    let doing = "failed to compute the dense model's states";
    let batch = numerics.micro_batch_sequences;
    let written = write_teacher(&dense.model, &tokens, batch, &path, &never, |_| {});
    let teacher = written.and_then(|()| Teacher::open(&path, &tokens, dense));
    // Mapped: the name can go while the file is in use.
    let _ = std::fs::remove_file(&path);
    let pool = Pool {
        tokens,
        teacher: teacher.or_fail(ExitCode::Bug, doing)?,
    };
    measure(model, &pool, numerics, &never, &mut |_| {})
        .or_fail(ExitCode::Bug, "failed to measure the model")
}

fn print(figures: &Figures, parameters: u64, as_json: bool) {
    let Figures {
        quality: BothMeasures { kl, perplexity },
        tokens_per_second,
    } = figures;
    if as_json {
        println!(
            "{}",
            json!({
                "perplexity": perplexity,
                "kl": kl,
                "parameters": parameters,
                "tokens_per_second": tokens_per_second,
            })
        );
    } else {
        println!("parameters       {parameters}");
        println!("perplexity       {perplexity:.4}");
        println!("KL to dense      {kl:.6} nats per token");
        println!("tokens/s         {tokens_per_second:.1}");
    }
}
