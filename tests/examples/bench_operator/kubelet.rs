//! The kubelet of every hollow node: worker pods run, say how far they are, and succeed.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use darwinlm_search::{Genome, Level};
use darwinlm_task::{
    GpuSeconds, Outcome, SearchReport, SurvivorReport, Task, TaskReport, TaskSpec, TrialCounts,
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Where the operator asks a worker how far it is.
const PORT: u16 = 9090;
/// A generation takes a worker so long.
const GENERATION: Duration = Duration::from_secs(15);

/// How fast workers work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// About how long one works on its task; each half as long to half as long again.
    pub(crate) work: Duration,
}

/// Watches all worker pods, from now until it is aborted.
pub(crate) fn start(client: Client, pace: Pace) -> JoinHandle<()> {
    tokio::spawn(async move {
        let workers = watcher::Config::default().labels("darwinlm.io/run");
        let events = watcher(Api::<Pod>::all(client.clone()), workers);
        let mut events = std::pin::pin!(events.default_backoff());
        let mut at_work: HashMap<String, JoinHandle<()>> = HashMap::new();
        let mut address = 0_u32;
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                    let uid = pod.uid().unwrap_or_default();
                    if pod.metadata.deletion_timestamp.is_some() {
                        if let Some(work) = at_work.remove(&uid) {
                            work.abort();
                        }
                        tokio::spawn(remove(client.clone(), pod));
                    } else if is_bound(&pod) && !at_work.contains_key(&uid) {
                        address += 1;
                        let own = Ipv4Addr::from(0x7f01_0000 + address);
                        at_work.insert(uid, tokio::spawn(work(client.clone(), pod, own, pace)));
                    }
                }
                Ok(watcher::Event::Delete(pod)) => {
                    if let Some(work) = at_work.remove(&pod.uid().unwrap_or_default()) {
                        work.abort();
                    }
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                Err(error) => eprintln!("the watch of pods broke: {error}"),
            }
        }
    })
}

fn is_bound(pod: &Pod) -> bool {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    node.is_some() && matches!(phase, None | Some("Pending"))
}

async fn remove(client: Client, pod: Pod) {
    let api = Api::<Pod>::namespaced(client, &pod.namespace().unwrap_or_default());
    let at_once = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    // It may be gone already.
    let _ = api.delete(&pod.name_any(), &at_once).await;
}

/// One worker, from its start to its end.
async fn work(client: Client, pod: Pod, address: Ipv4Addr, pace: Pace) {
    let Some(spec) = task_of(&pod) else {
        eprintln!("pod {} has no task", pod.name_any());
        return;
    };
    let worker = Arc::new(Worker {
        name: pod.uid().unwrap_or_default(),
        spec,
        started: Instant::now(),
    });
    let listener = match TcpListener::bind((address, PORT)).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("{address}:{PORT} cannot be listened on: {error}");
            return;
        }
    };
    let api = Api::<Pod>::namespaced(client, &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    say(&api, &name, running(address)).await;
    let serving = serve(listener, worker.clone());
    let length = pace.work * 3 / 2 * percent_of(&worker.name) / 100
        + pace.work / 2 * (100 - percent_of(&worker.name)) / 100;
    // Whoever ends it, the listener goes with this future.
    let _ = tokio::time::timeout(length, serving).await;
    say(&api, &name, succeeded(address, &worker.last_words())).await;
}

/// A number from 0 to 100 that is the worker's own.
fn percent_of(name: &str) -> u32 {
    name.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    }) % 101
}

fn task_of(pod: &Pod) -> Option<TaskSpec> {
    let container = pod.spec.as_ref()?.containers.first()?;
    let variable = container
        .env
        .as_ref()?
        .iter()
        .find(|variable| variable.name == "DARWINLM_TASK")?;
    TaskSpec::from_json(variable.value.as_deref()?).ok()
}

struct Worker {
    name: String,
    spec: TaskSpec,
    started: Instant,
}

impl Worker {
    /// What it says while it works, and what it costs by then.
    fn report(&self) -> TaskReport {
        let seconds = self.started.elapsed().as_secs();
        let mut report = TaskReport::running(&self.spec.run, &self.name, self.spec.task.kind());
        report.gpu_seconds = Some(GpuSeconds {
            useful: seconds,
            ..GpuSeconds::default()
        });
        if let Task::Search {
            until_generation, ..
        } = &self.spec.task
        {
            let done = self.started.elapsed().as_secs() / GENERATION.as_secs();
            let done = u32::try_from(done).unwrap_or(u32::MAX);
            report.search = Some(searched(done.min(*until_generation)));
        }
        report
    }

    fn last_words(&self) -> TaskReport {
        let mut report = self.report();
        report.outcome = Outcome::Done;
        if let Task::Search {
            until_generation, ..
        } = &self.spec.task
        {
            report.search = Some(searched(*until_generation));
        }
        report
    }
}

fn searched(generation: u32) -> SearchReport {
    let survivor = SurvivorReport {
        genome: Genome::uniform(32, Level::new(2).expect("a small level")),
        fitness: format!("0.{}", 9999 - generation.min(9000)),
        validation_kl: None,
        validation_perplexity: None,
        parameters: 2_600_000_000,
        born_in_generation: generation,
    };
    SearchReport {
        generation,
        generations: 10,
        digest: format!("sha256:{generation:064x}"),
        survivors: vec![survivor],
        trials: TrialCounts {
            done: u64::from(generation) * 9,
            failed: 0,
            repeated: 0,
        },
        spent_gpu_seconds: u64::from(generation) * 40,
    }
}

/// Answers every request with the worker's report, for ever.
async fn serve(listener: TcpListener, worker: Arc<Worker>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            continue;
        };
        let body = worker.report().to_json();
        tokio::spawn(async move {
            let mut request = [0_u8; 1024];
            if stream.read(&mut request).await.is_ok() {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
    }
}

async fn say(api: &Api<Pod>, pod: &str, status: Value) {
    let patch = Patch::Strategic(json!({"status": status}));
    match api.patch_status(pod, &PatchParams::default(), &patch).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(error) => eprintln!("pod {pod} cannot say how it is: {error}"),
    }
}

fn running(address: Ipv4Addr) -> Value {
    let now = Timestamp::now();
    json!({
        "phase": "Running", "startTime": now, "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        "containerStatuses": [container(true, json!({"running": {"startedAt": now}}))],
    })
}

fn succeeded(address: Ipv4Addr, report: &TaskReport) -> Value {
    let now = Timestamp::now();
    let terminated = json!({"terminated": {
        "exitCode": 0, "reason": "Completed", "message": report.to_json(),
        "startedAt": now, "finishedAt": now,
    }});
    json!({
        "phase": "Succeeded", "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": now}],
        "containerStatuses": [container(false, terminated)],
    })
}

fn container(ready: bool, state: Value) -> Value {
    json!({
        "name": "worker", "ready": ready, "started": ready, "restartCount": 0,
        "image": "bench", "imageID": "bench", "state": state,
    })
}
