//! Whole runs: what a CUDA device leaves in the store is what the CPU leaves.

use darwinlm_task::DeviceRequest::{self, Cpu, Cuda};

use crate::world::World;

/// All tasks of a run, the first one planning for one device and the others working on another.
fn run(
    model: &'static str,
    unit: &'static str,
    planned: DeviceRequest,
    on: DeviceRequest,
) -> World {
    let world = World::new(model, unit);
    world.finish(planned, &world.prepare());
    let tasks = [
        world.build_database(),
        world.search(2),
        world.search(3),
        world.evaluate(),
        world.export(),
    ];
    for task in tasks {
        world.finish(on, &task);
    }
    world
}

#[test]
fn a_run_on_cuda_leaves_what_the_cpu_leaves() {
    let _figures = fake_cuda::exclusive();
    for planned in [Cpu, Cuda] {
        for (model, unit) in [("tiny-gqa", "QueryHead"), ("tiny-mistral", "KeyValueGroup")] {
            let cpu = run(model, unit, planned, Cpu);
            let cuda = run(model, unit, planned, Cuda);
            let (a, b) = (cpu.files("store"), cuda.files("store"));
            for (name, bytes) in &a {
                let other = b.get(name);
                if other != Some(bytes) {
                    println!("{planned:?} {model} {name} differs {}", other.is_some());
                }
            }
        }
    }
    panic!();
}
