//! A thousand runs on a real API server without one real node: what that costs the operator.
//!
//! Nodes are hollow: this program renews their leases and is the kubelet of every worker pod, whose
//! reports are canned. Everything else is real: API server, etcd, scheduler, controllers, operator.
//! `tests/bench_operator.sh` starts them, on loopback alone. Prints tables; a figure is no test.

mod arguments;
mod figures;
mod kubelet;
mod nodes;
mod runs;

use std::time::Duration;

use arguments::Arguments;
use clap::Parser;
use figures::{Figures, Window};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let client = kube::Client::try_default().await?;
    nodes::make(&client, arguments.nodes).await?;
    let namespaces = runs::namespaces(&client, arguments.namespaces).await?;
    let kubelet = kubelet::start(client.clone(), arguments.pace());
    let figures = Figures::new(client.clone(), arguments.operator, arguments.pid);

    let mut arrival = Window::open("arrival", &figures).await?;
    let fleet = runs::Fleet::new(client.clone(), namespaces);
    fleet.fill(arguments.runs).await?;
    while fleet.waiting().await? > 0 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        arrival.sample(&figures);
    }
    let arrived = arrival.close(&figures, arguments.runs).await?;
    println!("{arrived}");

    let mut work = Window::open("at work", &figures).await?;
    let mut finished = 0;
    while work.elapsed() < arguments.minutes() {
        tokio::time::sleep(Duration::from_secs(5)).await;
        work.sample(&figures);
        finished += fleet.replace_finished().await?;
    }
    let worked = work.close(&figures, arguments.runs).await?;
    println!("{worked}");
    let failed = fleet.failed().await?;
    println!("runs that ended and were replaced: {finished}; that failed: {failed}");
    kubelet.abort();
    if failed > 0 {
        return Err("runs have to succeed".into());
    }
    Ok(())
}
