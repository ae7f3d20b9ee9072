//! `darwinlm logs`: what a run's workers say, each line with its worker's name.

use std::time::Duration;

use clap::Args;
use darwinlm_task::{ExitCode, TaskKind};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};

use super::{Cluster, Failure, Place};
use crate::{
    names::{JobKey, LABEL_RUN, LABEL_TASK},
    run_controller::build::CONTAINER,
};

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  darwinlm logs smollm2                     the last lines of every worker there is
  darwinlm logs smollm2 search -f           of those that search, as they come
  darwinlm logs smollm2 search smollm2-search-g0-a1-x7k2p --tail 500";

/// Workers that are followed at once.
const FOLLOWED: usize = 100;
/// Between two looks for workers that are new.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(in crate::cli) struct Logs {
    /// Name of the run
    run: String,
    /// Workers of this task alone, as search
    task: Option<String>,
    /// This worker alone, by its pod's name
    worker: Option<String>,
    /// Go on as lines come, until the workers end
    #[arg(short, long)]
    follow: bool,
    /// Lines of each worker's past
    #[arg(long, default_value_t = 20, value_name = "LINES")]
    tail: i64,
    #[command(flatten)]
    place: Place,
}

/// Prints logs.
pub(in crate::cli) async fn logs(arguments: Logs) -> Result<(), Failure> {
    let Logs {
        run: name,
        task,
        worker,
        follow,
        tail,
        place,
    } = arguments;
    let task = task.map(|word| task_of(&word)).transpose()?;
    let cluster = place.open().await?;
    cluster.run(&name).await?;
    let pods = pods(&cluster, &name, task).await?;
    let wanted: Vec<String> = pods
        .iter()
        .map(ResourceExt::name_any)
        .filter(|pod| worker.as_ref().is_none_or(|worker| worker == pod))
        .collect();
    if wanted.is_empty() {
        let all: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
        return Err(none(&name, worker.as_deref(), &all));
    }
    let api = Api::<Pod>::namespaced(cluster.client.clone(), &cluster.namespace);
    let parameters = LogParams {
        container: Some(CONTAINER.to_owned()),
        follow,
        tail_lines: Some(tail),
        ..LogParams::default()
    };
    let width = wanted.iter().map(String::len).max().unwrap_or_default();
    let said = stream::iter(wanted).for_each_concurrent(FOLLOWED, |pod| {
        let (api, parameters) = (&api, &parameters);
        async move {
            if let Err(error) = copy(api, &pod, parameters, width).await {
                // One that has not started, or is gone, says nothing.
                eprintln!("{pod:<width$}  {error}");
            }
        }
    });
    said.await;
    Ok(())
}

/// Copies a worker's lines, each after its name.
async fn copy(
    api: &Api<Pod>,
    pod: &str,
    parameters: &LogParams,
    width: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut lines = loop {
        match api.log_stream(pod, parameters).await {
            Ok(stream) => break stream.lines(),
            Err(kube::Error::Api(answer)) if parameters.follow && answer.code == 400 => {
                // Its container has not started.
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    while let Some(line) = lines.try_next().await? {
        println!("{pod:<width$}  {line}");
    }
    Ok(())
}

/// The run's pods, the oldest first.
async fn pods(cluster: &Cluster, run: &str, task: Option<TaskKind>) -> Result<Vec<Pod>, Failure> {
    let task = task.map(|task| format!(",{LABEL_TASK}={}", task.name()));
    let selector = format!("{LABEL_RUN}={run}{}", task.unwrap_or_default());
    let api = Api::<Pod>::namespaced(cluster.client.clone(), &cluster.namespace);
    let listed = api.list(&ListParams::default().labels(&selector)).await;
    let mut pods = listed.map_err(|error| cluster.failed(&error))?.items;
    pods.sort_by_key(|pod| {
        let key = JobKey::from_labels(pod.labels());
        (pod.creation_timestamp(), key, pod.name_any())
    });
    Ok(pods)
}

fn task_of(word: &str) -> Result<TaskKind, Failure> {
    let known = TaskKind::ALL.iter().find(|task| task.name() == word);
    known.copied().ok_or_else(|| {
        let names: Vec<_> = TaskKind::ALL.iter().map(|task| task.name()).collect();
        Failure::new(
            ExitCode::Usage,
            format!("{word:?} is no task; there are {}", names.join(", ")),
        )
    })
}

fn none(run: &str, worker: Option<&str>, all: &[String]) -> Failure {
    let message = match worker {
        Some(worker) if !all.is_empty() => {
            format!("{run} has no worker {worker:?}; it has {}", all.join(", "))
        }
        _ => format!(
            "{run} has no workers there: they go with their Jobs; see `darwinlm explain {run}`"
        ),
    };
    Failure::new(ExitCode::InputMissing, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_there_is_not_is_named_beside_those_that_there_are() {
        assert_eq!(task_of("post-train").unwrap(), TaskKind::PostTrain);
        let refused = task_of("train").unwrap_err().message;
        assert!(
            refused.starts_with("\"train\" is no task; there are prepare, "),
            "{refused}"
        );
    }

    #[test]
    fn workers_that_there_are_not_are_said_to_be_gone() {
        assert!(none("r", None, &[]).message.contains("darwinlm explain r"));
        let one = none("r", Some("x"), &["r-search-g0-a1-y".to_owned()]).message;
        assert_eq!(one, "r has no worker \"x\"; it has r-search-g0-a1-y");
    }
}
