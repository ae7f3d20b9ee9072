//! Times: what a run counts, divided by what a device does in a second.

use darwinlm_search::ModuleKind;
use darwinlm_task::{Rates, TaskKind, TaskTime, TimeForecast};

use super::{Run, forward, hessians, output, pruning};
use crate::latency::{PAIRS, ROUNDS};
use crate::memory::Kept;

/// Forward passes by which `evaluate` tells a model's speed.
const SPEED_PASSES: f64 = 5.0;

/// How long each task takes with so many workers of `build-database` and of `search`. `capacity` are the
/// bytes of a device; `None` on the CPU.
pub fn times(
    run: &Run<'_>,
    rates: &Rates,
    capacity: Option<u64>,
    pruning_workers: u32,
    search_workers: u32,
) -> TimeForecast {
    let clock = Clock {
        run,
        rates,
        capacity,
        dense: run.dense(),
        candidate: run.candidate(),
    };
    let mut tasks = Vec::new();
    if let Some(sizes) = run.timed_sizes {
        tasks.push(clock.alone(TaskKind::Measure, clock.measure(sizes), run.model_bytes()));
    }
    tasks.push(clock.build_database(pruning_workers.max(1)));
    tasks.push(clock.search(search_workers.max(1)));
    let everything = run.model_bytes() + run.database_bytes();
    if run.training.is_some() {
        tasks.push(clock.alone(TaskKind::PostTrain, clock.post_train(), everything));
    }
    if run.evaluation.is_some() {
        tasks.push(clock.alone(TaskKind::Evaluate, clock.evaluate(), everything));
    }
    TimeForecast {
        pruning_workers: pruning_workers.max(1),
        search_workers: search_workers.max(1),
        tasks,
    }
}

struct Clock<'a> {
    run: &'a Run<'a>,
    rates: &'a Rates,
    capacity: Option<u64>,
    dense: Vec<Kept>,
    candidate: Vec<Kept>,
}

impl Clock<'_> {
    /// A task of one worker that computes for so long and reads so much before.
    fn alone(&self, task: TaskKind, computing: f64, reads: u64) -> TaskTime {
        let starting = self.starting(reads);
        TaskTime {
            task,
            workers: 1,
            seconds: starting + computing,
            idle_seconds: starting,
        }
    }

    /// Seconds from a worker's start to its first unit of work.
    fn starting(&self, reads: u64) -> f64 {
        self.rates.start_seconds + reads as f64 / self.rates.read
    }

    /// The blocks are shared out as `build-database` does; whoever is free takes the next share.
    fn build_database(&self, workers: u32) -> TaskTime {
        let (run, rates) = (self.run, self.rates);
        let tokens = run.tokens(&run.data.calibration) as f64;
        let length = f64::from(run.data.sequence_length);
        let blocks = run.shape().blocks;
        let pass = |blocks: &[Kept]| forward(run.shape(), blocks, tokens, length);
        let levels = |kind| run.ladders[kind].as_slice().len() as f64 - 1.0;
        let rows = f64::from(run.shape().hidden);
        let prune = |kept: &Kept| {
            let of = |columns: u64, kind| pruning(columns as f64, rows, levels(kind));
            of(kept.queries, ModuleKind::Attention) / rates.prune_attention
                + of(kept.columns, ModuleKind::Mlp) / rates.prune_mlp
        };
        let written = run.database_bytes() as f64 / f64::from(blocks) / rates.read;
        let ranges = run.sizes.block_ranges(self.capacity, workers);
        let mut shares: Vec<f64> = ranges
            .into_iter()
            .map(|range| {
                let (start, end) = (range.start as usize, range.end as usize);
                let own = &self.dense[start..end];
                pass(&self.dense[..start]) / rates.forward
                    + (pass(own) + hessians(own, tokens)) / rates.hessian
                    + own.iter().map(|kept| prune(kept) + written).sum::<f64>()
            })
            .collect();
        let taught = run.tokens(&run.data.fitness) as f64 + run.tokens(&run.data.validation) as f64;
        let teachers = forward(run.shape(), &self.dense, taught, length) / rates.forward;
        shares.push(teachers + run.teacher_bytes() as f64 / rates.read);
        let mut busy = vec![0.0_f64; workers as usize];
        for share in &shares {
            let free = busy.iter_mut().min_by(|a, b| a.total_cmp(b));
            *free.expect("there is a worker") += share;
        }
        let longest = busy.iter().fold(0.0, |most: f64, one| most.max(*one));
        let starting = self.starting(run.model_bytes());
        let computing: f64 = shares.iter().sum();
        TaskTime {
            task: TaskKind::BuildDatabase,
            workers,
            seconds: starting + longest,
            idle_seconds: f64::from(workers) * (starting + longest) - computing,
        }
    }

    /// Trials of a step are alike: a step takes as many rounds of them as its workers need.
    fn search(&self, workers: u32) -> TaskTime {
        let run = self.run;
        let (mut wall, mut computing) = (0.0, 0.0);
        for (step, &count) in run.candidates().iter().enumerate() {
            let trial = self.trial(step);
            wall += f64::from(count.div_ceil(workers)) * trial;
            computing += f64::from(count) * trial;
        }
        // one worker validates what survived while the others begin the next generation
        let validating = self.stitched() + self.scored(&self.candidate, self.validation_tokens());
        let generations = f64::from(run.settings.generations);
        let wall = generations * wall + (generations + 1.0) * validating / f64::from(workers);
        let computing = generations * computing + (generations + 1.0) * validating;
        let jobs = run
            .settings
            .generations
            .div_ceil(run.generations_per_job.max(1));
        let reads = run.model_bytes() + run.database_bytes() + run.teacher_bytes();
        let starting = f64::from(jobs) * self.starting(reads);
        let seconds = starting + wall;
        TaskTime {
            task: TaskKind::Search,
            workers,
            seconds,
            idle_seconds: f64::from(workers) * seconds - computing,
        }
    }

    /// One trial of a selection step.
    fn trial(&self, step: usize) -> f64 {
        let run = self.run;
        let step = run.settings.steps[step];
        let trained = step.training_tokens as f64;
        let mut seconds =
            self.stitched() + self.scored(&self.candidate, step.fitness_tokens as f64);
        if trained > 0.0 {
            let batch = f64::from(run.settings.optimizer.batch_sequences);
            let length = f64::from(run.data.sequence_length);
            seconds += self.copied() + self.trained(trained, length, batch);
        }
        seconds
    }

    fn validation_tokens(&self) -> f64 {
        self.run.tokens(&self.run.data.validation) as f64
    }

    /// Cutting a candidate out of database and dense model.
    fn stitched(&self) -> f64 {
        let sizes = &self.run.sizes;
        let bytes = sizes.block_weights(&self.candidate, sizes.element());
        bytes as f64 / self.rates.copy
    }

    /// Copying a candidate's weights to be trained.
    fn copied(&self) -> f64 {
        4.0 * self.run.parameters(&self.run.start) as f64 / self.rates.copy
    }

    fn scored(&self, model: &[Kept], tokens: f64) -> f64 {
        let (run, rates) = (self.run, self.rates);
        let length = f64::from(run.data.sequence_length);
        forward(run.shape(), model, tokens, length) / rates.forward
            + 2.0 * output(run.shape(), tokens) / rates.score
    }

    /// Training of the start on so many tokens, `batch` sequences of `length` a step: a backward
    /// pass counts twice a forward pass.
    fn trained(&self, tokens: f64, length: f64, batch: f64) -> f64 {
        let (run, rates) = (self.run, self.rates);
        let steps = (tokens / (batch * length).max(1.0)).ceil();
        3.0 * forward(run.shape(), &self.candidate, tokens, length) / rates.train
            + 3.0 * output(run.shape(), tokens) / rates.train_output
            + steps * run.parameters(&run.start) as f64 / rates.optimizer
    }

    fn post_train(&self) -> f64 {
        let (run, rates) = (self.run, self.rates);
        let Some(training) = run.training else {
            return 0.0;
        };
        let tokens = training.tokens as f64;
        let length = f64::from(training.sequence_length);
        let mut seconds = self.stitched()
            + self.copied()
            + self.trained(tokens, length, f64::from(training.batch_sequences));
        if training.distillation_percent > 0 {
            seconds += forward(run.shape(), &self.dense, tokens, length) / rates.forward
                + output(run.shape(), tokens) / rates.score;
        }
        let checkpoints = training
            .tokens
            .div_ceil(training.checkpoint_every_tokens.max(1));
        seconds + checkpoints as f64 * run.checkpoint_bytes() as f64 / rates.read
    }

    fn evaluate(&self) -> f64 {
        let (run, rates) = (self.run, self.rates);
        let tokens = self.validation_tokens();
        let length = f64::from(run.data.sequence_length);
        let pass = f64::from(run.sizes.numerics.micro_batch_sequences) * length;
        let one = |model: &[Kept]| {
            self.scored(model, tokens)
                + SPEED_PASSES * forward(run.shape(), model, pass, length) / rates.forward
        };
        let pruned = if run.training.is_some() { 3.0 } else { 2.0 };
        let mut seconds = one(&self.dense) + pruned * (one(&self.candidate) + self.stitched());
        if let Some(workload) = run.evaluation.and_then(|asked| asked.latency) {
            let all = f64::from(workload.prompt_tokens) + f64::from(workload.new_tokens);
            let tokens = f64::from(workload.batch) * all;
            let both = [&self.dense, &self.candidate]
                .map(|model| forward(run.shape(), model, tokens, all) / rates.forward);
            seconds += (f64::from(PAIRS) + 1.0) * both.iter().sum::<f64>();
        }
        seconds
    }

    /// Modules of all sizes, half of a whole one on average, three passes a round; and the whole
    /// model besides.
    fn measure(&self, sizes: u32) -> f64 {
        let (run, rates) = (self.run, self.rates);
        let length = f64::from(run.data.sequence_length);
        let tokens = f64::from(run.sizes.numerics.micro_batch_sequences) * length;
        let one = &self.dense[..1.min(self.dense.len())];
        let module = forward(run.shape(), one, tokens, length) / 2.0 / 2.0;
        let round = 3.0 * f64::from(sizes) * module
            + forward(run.shape(), &self.dense, tokens, length)
            + output(run.shape(), tokens);
        f64::from(ROUNDS + 1) * round / rates.forward
    }
}
