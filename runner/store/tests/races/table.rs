//! A small search problem, and a runner that looks its outcomes up in a table for a model.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use darwinlm_search::{
    AttentionUnit, Costs, Digest, Exchange, FitnessKind, Genome, Ladder, Ladders, Level, Optimizer,
    Outcome, PerKind, Pins, Pool, Problem, Schedule, Search, SelectionStep, Shape, Survivor, Told,
    Trial, TrialId,
};
use darwinlm_store::{Ran, TrialError, TrialRunner, Validation};
use darwinlm_task::DeviceClass;

/// Eight blocks, eight offspring, three steps: 8 + 4 + 3 trials a generation.
pub(crate) fn problem(generations: u32) -> Problem {
    let shape = Shape {
        blocks: 8,
        hidden: 64,
        vocabulary: 128,
        intermediate: 128,
        query_heads: 8,
        key_value_heads: 8,
        head_dim: 8,
        tied_embeddings: false,
        query_key_value_bias: false,
        query_key_norm: false,
        attention_unit: AttentionUnit::QueryHead,
    };
    let ladders: Ladders = PerKind {
        attention: Ladder::spaced(8, 4, 1).expect("eight heads have four levels"),
        mlp: Ladder::spaced(128, 4, 32).expect("128 columns have four levels of 32"),
    };
    let steps = [(4, 100, 40), (2, 200, 80), (1, 400, 160)];
    let steps = steps.map(
        |(survivors, training_tokens, fitness_tokens)| SelectionStep {
            survivors,
            training_tokens,
            fitness_tokens,
        },
    );
    let level = Level::new(2).expect("two is a level");
    let pin = |text: &str| Digest::of(text.as_bytes());
    Problem {
        seed: 7,
        costs: Costs::parameters(&shape, &ladders).expect("the ladders fit the shape"),
        start: Genome::uniform(shape.blocks, level),
        shape,
        ladders,
        target: darwinlm_search::Target::Level(level),
        exchange: Exchange::WithinKind,
        generations,
        offspring: 8,
        steps: Schedule::new(steps.to_vec()).expect("survivors fall to one"),
        fitness: FitnessKind::KullbackLeibler,
        continue_training: false,
        optimizer: Optimizer {
            learning_rate: "1e-5".to_owned(),
            weight_decay: "0.01".to_owned(),
            batch_sequences: 1,
        },
        training_pool: Pool {
            sequences: 50,
            sequence_length: 16,
        },
        fitness_pool: Pool {
            sequences: 50,
            sequence_length: 16,
        },
        pins: Pins {
            training_tokens: pin("training"),
            fitness_tokens: pin("fitness"),
            numerics_plan: pin("numerics"),
            level_database: pin("database"),
            latency_table: None,
        },
    }
}

/// What the table says of a trial: a number that depends on everything a trial does, and now and
/// then no number at all.
pub(crate) fn outcome(trial: &Trial) -> Outcome {
    let text = serde_json::to_vec(trial).expect("a trial is JSON");
    let bytes = *Digest::of(&text).as_bytes();
    if bytes[0] < 12 {
        return Outcome::of(f64::NAN);
    }
    let bits = u64::from_le_bytes(std::array::from_fn(|i| bytes[i + 1]));
    // Spread over (0, 1), with all 53 bits used: a lost last bit would change the digest.
    Outcome::of((bits >> 11) as f64 / (1_u64 << 53) as f64)
}

/// The search as one loop without store, workers or clocks: what every test has to end with.
pub(crate) fn reference(problem: &Problem) -> Search {
    let mut search = Search::new(problem.clone()).expect("the problem is valid");
    while !search.is_finished() {
        for trial in search.ask() {
            let told = search
                .tell(trial.id, outcome(&trial))
                .expect("the trial is open");
            if let Told::GenerationComplete(_) = told {
                break;
            }
        }
    }
    search
}

/// Trials in the whole search.
pub(crate) fn trials(problem: &Problem) -> usize {
    15 * problem.generations as usize
}

/// Looks outcomes up, and writes down what it was asked.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) pause: Duration,
    pub(crate) validation_pause: Duration,
    pub(crate) ran: Arc<Mutex<Vec<TrialId>>>,
    pub(crate) validated: Arc<Mutex<Vec<u32>>>,
}

impl Table {
    pub(crate) fn new(pause: Duration) -> Self {
        Self {
            pause,
            validation_pause: pause,
            ran: Arc::default(),
            validated: Arc::default(),
        }
    }
}

impl TrialRunner for Table {
    fn run(&mut self, trial: &Trial, _problem: &Problem) -> Result<Ran, TrialError> {
        self.ran.lock().expect("no holder panics").push(trial.id);
        std::thread::sleep(self.pause);
        Ok(Ran {
            outcome: outcome(trial),
            tokens_trained: trial.training.iter().map(|batch| batch.tokens).sum(),
            tokens_scored: trial.fitness.tokens,
            seconds: 2.0,
            device_class: DeviceClass::Cpu,
        })
    }

    fn validate(
        &mut self,
        survivor: &Survivor,
        _problem: &Problem,
    ) -> Result<Option<Validation>, TrialError> {
        let born = survivor.born_in_generation;
        self.validated.lock().expect("no holder panics").push(born);
        std::thread::sleep(self.validation_pause);
        Ok(Some(Validation {
            kl: f64::from(born) + 0.5,
            perplexity: 10.0,
        }))
    }
}
