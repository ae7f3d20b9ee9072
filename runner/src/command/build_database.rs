//! `build-database`: the task that fills the level database, shared by any number of workers.

mod builder;
mod by_hand;
mod teachers;

use std::ops::Range;
use std::time::Duration;

use darwinlm_store::{Claimed, Claims, Folder, FolderWriter};
use darwinlm_task::{DatabaseReport, ExitCode, PruningSpec, TokenSlice, paths};

use super::compute::{Prepared, ladders};
use super::context::{Context, Ended, store_failure};
use crate::failure::{Failure, caught};
use crate::memory::Sizes;

pub(super) use by_hand::{by_hand, folder_store};

use builder::{Builder, MODULES, Recipe};
use teachers::write_teachers;

/// How many builders may have raised an exception before none tries again: a folder outlives runs and
/// versions, so that it is the Job's own limit that ends a run.
const EXCEPTIONS: usize = usize::MAX;

/// How often a worker without work looks whether the others are done.
const POLL: Duration = Duration::from_millis(500);

/// What a worker may claim.
enum Share {
    /// Hessians and levels of contiguous blocks.
    Blocks(Range<u32>),
    /// The dense model's final hidden states.
    Teachers,
}

impl Share {
    fn subject(&self) -> String {
        match self {
            Self::Blocks(range) => format!("blocks-{:04}-{:04}", range.start, range.end),
            Self::Teachers => "states".to_owned(),
        }
    }
}

/// Fills the database of the run together with the other workers.
///
/// The blocks are cut into contiguous ranges, one a worker: a range's Hessians cost a forward pass
/// up to its end. Who builds a module changes nothing in it.
pub(super) async fn task(
    context: &Context,
    pruning: &PruningSpec,
    workers: u32,
) -> Result<Ended, Failure> {
    let prepared = Prepared::open(context).await?;
    let digest = prepared.database_digest(pruning);
    let (database, teacher) = (
        paths::database(&digest),
        paths::teacher(&prepared.teacher_digest()),
    );
    context.uses(&database).await?;
    context.uses(&teacher).await?;
    let writer = FolderWriter::new(&context.store, &database);
    let teachers = FolderWriter::new(&context.store, &teacher);
    let folder = match complete(&writer, &teachers).await? {
        Some(folder) => folder,
        None => match fill(
            context, &prepared, pruning, workers, &digest, &writer, &teachers,
        )
        .await?
        {
            Some(folder) => folder,
            None => return Ok(Ended::Stopped),
        },
    };
    context.reporter.update(|report| {
        report.database = Some(DatabaseReport {
            digest,
            bytes: folder.bytes(),
        });
    });
    Ok(Ended::Done)
}

/// The database, once it and the teachers are complete.
async fn complete(
    writer: &FolderWriter,
    teachers: &FolderWriter,
) -> Result<Option<Folder>, Failure> {
    let teachers = teachers.complete().await.map_err(store_failure)?;
    let folder = writer.complete().await.map_err(store_failure)?;
    Ok(folder.filter(|_| teachers.is_some()))
}

/// `None` when told to stop.
async fn fill(
    context: &Context,
    prepared: &Prepared,
    pruning: &PruningSpec,
    workers: u32,
    digest: &str,
    writer: &FolderWriter,
    teachers: &FolderWriter,
) -> Result<Option<Folder>, Failure> {
    let dense = prepared.dense(context).await?;
    let calibration = prepared
        .sequences(context, TokenSlice::Calibration, &dense)
        .await?;
    let shape = dense.config.shape(pruning.attention_unit);
    let latency = prepared.spaced_by(pruning);
    let recipe = Recipe {
        model: prepared.plan.model.clone(),
        calibration: prepared.plan.calibration.sha256.clone(),
        ladders: ladders(
            &shape,
            pruning,
            latency.map(|latency| &latency.stored.table),
        )?,
        latency_table: latency.map(|latency| latency.sha256.clone()),
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
        timesheet: Some(&context.timesheet),
        metrics: Some(&context.metrics),
        sizes: &Sizes::of(&dense.config, &prepared.plan),
    };
    let shares: Vec<_> = builder
        .ranges(workers)
        .into_iter()
        .map(Share::Blocks)
        .chain([Share::Teachers])
        .collect();
    let claims = |key: &str| Claims::new(&context.store, key, &context.worker, context.times);
    // Below the folders, not below the run: other runs may want the same ones at the same time.
    let mut database_claims = claims(&paths::database(digest));
    let mut teacher_claims = claims(&paths::teacher(&prepared.teacher_digest()));
    loop {
        if *context.stop.watch.borrow() {
            return Ok(None);
        }
        let mut open = 0;
        let mut worked = false;
        for share in &shares {
            if is_done(share, &builder, teachers).await? {
                continue;
            }
            open += 1;
            let subject = share.subject();
            let claims = match share {
                Share::Blocks(_) => &mut database_claims,
                Share::Teachers => &mut teacher_claims,
            };
            let claim = match claims
                .claim(&subject, EXCEPTIONS)
                .await
                .map_err(store_failure)?
            {
                Claimed::Held => continue,
                Claimed::Failed { messages } => {
                    let last = messages.last().map_or("", String::as_str);
                    return Err(Failure::new(
                        ExitCode::Bug,
                        format!("{subject} failed: {last}"),
                    ));
                }
                Claimed::Mine(claim) => claim,
            };
            // The owner before may have finished between our look and our claim.
            let ended = match is_done(share, &builder, teachers).await? {
                true => Ok(Ended::Done),
                false => caught(work_on(share, context, prepared, &builder, teachers)).await,
            };
            match ended {
                Ok(Ended::Done) => claim.finish().await,
                Ok(Ended::Stopped | Ended::BudgetSpent) => {
                    claim.release().await;
                    return Ok(None);
                }
                Err(failure) => {
                    match failure.code {
                        ExitCode::Bug => claim.fail(&failure.to_string()).await,
                        _ => claim.release().await,
                    }
                    return Err(failure);
                }
            }
            worked = true;
            break;
        }
        if open == 0 {
            return builder.finish().await.map(Some);
        }
        if !worked {
            context.timesheet.waiting();
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn is_done(
    share: &Share,
    builder: &Builder<'_>,
    teachers: &FolderWriter,
) -> Result<bool, Failure> {
    match share {
        Share::Blocks(range) => builder.is_done(range).await,
        Share::Teachers => teachers
            .complete()
            .await
            .map(|folder| folder.is_some())
            .map_err(store_failure),
    }
}

async fn work_on(
    share: &Share,
    context: &Context,
    prepared: &Prepared,
    builder: &Builder<'_>,
    teachers: &FolderWriter,
) -> Result<Ended, Failure> {
    match share {
        Share::Blocks(range) => {
            let hear = |done, total, unit: &str| {
                if unit == MODULES {
                    context.metrics.modules.inc();
                }
                context.reporter.progress(done, total, unit);
            };
            builder.build(range, hear).await
        }
        Share::Teachers => {
            context.timesheet.computing();
            let ended = write_teachers(context, prepared, builder.dense, teachers).await?;
            if ended == Ended::Done {
                context.timesheet.kept();
            }
            Ok(ended)
        }
    }
}
