//! A device that was asked for by name and is not there: exit code 78, never the CPU instead.

use darwinlm_runner::device;
use darwinlm_task::{Outcome, RunIdentity, TaskReport, VERSION};
use serde_json::json;

use crate::world::{World, model, program, refused};

const ACCEPTED: &str = "accepted without it: Auto, Cpu";

#[test]
fn a_command_that_names_cuda_is_refused_where_there_is_none() {
    if device::cuda().is_ok() {
        return;
    }
    let world = World::new();
    let tokens = world.tokens("tokens.safetensors", 4, 16);
    let mut command = program();
    command.arg("evaluate").arg("--model").arg(model());
    command
        .arg("--tokens")
        .arg(tokens)
        .args(["--device", "Cuda"]);
    let (code, said) = refused(&command.output().unwrap());
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("device Cuda was asked for"), "{said}");
    assert!(said.contains(ACCEPTED), "{said}");
}

#[test]
fn a_task_that_names_cuda_is_refused_where_there_is_none() {
    if device::cuda().is_ok() {
        return;
    }
    let world = World::new();
    let tokens = world.tokens("tokens.safetensors", 200, 16);
    crate::stops::finish(&world, crate::stops::prepare(&tokens));
    let task = json!({
        "version": VERSION,
        "run": RunIdentity { namespace: "local".into(), name: "tiny".into(), uid: "uid".into() },
        "store": format!("file://{}", world.path("store").display()),
        "device": "Cuda",
        "task": {"kind": "build-database", "pruning": crate::stops::pruning(), "workers": 1},
    });
    let mut command = program();
    command
        .arg("work")
        .env(darwinlm_task::ENV_TASK, task.to_string());
    command.env(darwinlm_task::ENV_REPORT, world.path("report"));
    command.env(darwinlm_task::ENV_CACHE, world.path("cache"));
    command.env(darwinlm_task::ENV_LISTEN, "127.0.0.1:0");
    assert_eq!(command.output().unwrap().status.code(), Some(78));
    let report: TaskReport = crate::stops::report(&world);
    let Outcome::Failed {
        reason, message, ..
    } = report.outcome
    else {
        panic!("the report says {:?}", report.outcome);
    };
    assert_eq!(
        reason,
        darwinlm_task::FailureReason::DeviceUnusable.as_str()
    );
    assert!(message.starts_with("spec.worker.device: "), "{message}");
    assert!(message.contains(ACCEPTED), "{message}");
    assert!(!world.path("store/databases").exists());
}
