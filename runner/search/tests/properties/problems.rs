//! Small problems of every sort, a table that scores candidates, and a driver.

use darwinlm_search::{
    AttentionUnit, Costs, Digest, Entry, Exchange, FitnessKind, Genome, Ladder, Ladders,
    LatencyTable, ModuleKind, Optimizer, Outcome, PerKind, Pins, Pool, Problem, Schedule, Search,
    SelectionStep, Shape, Target, Told, Trial, start,
};
use proptest::prelude::*;

/// A problem that is searched in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Sketch {
    pub(crate) seed: u64,
    pub(crate) blocks: u32,
    pub(crate) key_value_heads: u32,
    pub(crate) attention_unit: AttentionUnit,
    pub(crate) attention_levels: u8,
    pub(crate) mlp_levels: u8,
    /// `Some` makes a cost target at this per mille of the reachable range, `None` a level target.
    pub(crate) cost_permille: Option<u64>,
    pub(crate) level: u8,
    pub(crate) measured: bool,
    pub(crate) exchange: Exchange,
    pub(crate) offspring: u32,
    pub(crate) survivors: Vec<u32>,
    pub(crate) continue_training: bool,
}

pub(crate) fn sketches() -> impl Strategy<Value = Sketch> {
    let unit = prop_oneof![
        Just(AttentionUnit::QueryHead),
        Just(AttentionUnit::KeyValueGroup)
    ];
    let exchange = prop_oneof![Just(Exchange::WithinKind), Just(Exchange::AcrossKinds)];
    let survivors = prop_oneof![Just(vec![1]), Just(vec![2, 1]), Just(vec![4, 2, 1])];
    let model = (
        any::<u64>(),
        1..6_u32,
        prop_oneof![Just(8_u32), Just(4), Just(2)],
        unit,
    );
    let ladders = (
        1..9_u8,
        1..9_u8,
        proptest::option::of(0..1000_u64),
        0..9_u8,
        any::<bool>(),
    );
    let generation = (exchange, 4..9_u32, survivors, any::<bool>());
    (model, ladders, generation).prop_map(|(model, ladders, generation)| {
        let (seed, blocks, key_value_heads, attention_unit) = model;
        let (attention_levels, mlp_levels, cost_permille, level, measured) = ladders;
        let (exchange, offspring, survivors, continue_training) = generation;
        Sketch {
            seed,
            blocks,
            key_value_heads,
            attention_unit,
            attention_levels,
            mlp_levels,
            cost_permille,
            level,
            measured,
            exchange,
            offspring,
            survivors,
            continue_training,
        }
    })
}

impl Sketch {
    /// A level target in a model with four levels above dense, to vary from.
    pub(crate) fn plain() -> Sketch {
        Sketch {
            seed: 7,
            blocks: 4,
            key_value_heads: 8,
            attention_unit: AttentionUnit::QueryHead,
            attention_levels: 4,
            mlp_levels: 6,
            cost_permille: None,
            level: 2,
            measured: false,
            exchange: Exchange::WithinKind,
            offspring: 6,
            survivors: vec![3, 1],
            continue_training: false,
        }
    }

    pub(crate) fn problem(&self, generations: u32) -> Problem {
        let shape = Shape {
            blocks: self.blocks,
            hidden: 16,
            vocabulary: 50,
            intermediate: 40,
            query_heads: 8,
            key_value_heads: self.key_value_heads,
            head_dim: 4,
            tied_embeddings: true,
            query_key_value_bias: false,
            query_key_norm: false,
            attention_unit: self.attention_unit,
        };
        let units = shape.units(ModuleKind::Attention);
        let attention = Ladder::spaced(units, self.attention_levels, 1).unwrap();
        let mlp_levels = match self.cost_permille {
            Some(_) => self.mlp_levels,
            None => attention.deepest().get(),
        };
        let mlp = Ladder::spaced(40, mlp_levels, 1).unwrap();
        let mut ladders = Ladders { attention, mlp };
        let costs = if self.measured {
            let table = self.table(&shape);
            if self.cost_permille.is_some() {
                let levels = PerKind {
                    attention: self.attention_levels,
                    mlp: self.mlp_levels,
                };
                ladders = PerKind::of(|kind| table.ladder(kind, levels[kind]).unwrap());
            }
            table.costs(&ladders).unwrap()
        } else {
            Costs::parameters(&shape, &ladders).unwrap()
        };
        let target = self.target(&ladders, &costs);
        let errors = errors(self.seed, self.blocks, &ladders);
        let start = start(target, self.blocks, &ladders, &costs, &errors).unwrap();
        Problem {
            seed: self.seed,
            shape,
            ladders,
            costs,
            target,
            start,
            exchange: self.exchange,
            generations,
            offspring: self.offspring,
            steps: self.schedule(),
            fitness: FitnessKind::KullbackLeibler,
            continue_training: self.continue_training,
            optimizer: optimizer(),
            training_pool: Pool {
                sequences: 13,
                sequence_length: 16,
            },
            fitness_pool: Pool {
                sequences: 11,
                sequence_length: 16,
            },
            pins: pins(),
        }
    }

    /// Times of every size, with flat stretches and jumps as tiles on a device make them, and noise.
    fn table(&self, shape: &Shape) -> LatencyTable {
        let times = PerKind::of(|kind| {
            let sizes = (0..=shape.units(kind)).rev();
            let time = |units: u32| {
                let noise = hash(&format!("{} {kind} {units}", self.seed)) % 40;
                match units {
                    0 => 0,
                    _ => u64::from(units.div_ceil(3)) * 70 + noise,
                }
            };
            sizes.map(|units| (units, time(units))).collect()
        });
        LatencyTable::new(1000, times).unwrap()
    }

    fn target(&self, ladders: &Ladders, costs: &Costs) -> Target {
        let uniform = |kind: ModuleKind, index: usize| {
            let level = darwinlm_search::Level::new(u8::try_from(index).unwrap()).unwrap();
            costs.of_level(kind, level)
        };
        let of_model = |index: [usize; 2]| {
            let modules = ModuleKind::ALL.into_iter().zip(index);
            let sum: u64 = modules.map(|(kind, index)| uniform(kind, index)).sum();
            sum * u64::from(self.blocks)
        };
        let base = costs.of_genome(&Genome::uniform(self.blocks, darwinlm_search::Level::DENSE))
            - of_model([0, 0]);
        match self.cost_permille {
            Some(permille) => {
                let last = ModuleKind::ALL.map(|kind| ladders[kind].deepest().index());
                let (least, dense) = (base + of_model(last), base + of_model([0, 0]));
                Target::Cost(least + (dense - 1 - least) * permille / 1000)
            }
            None => {
                let level = self.level.min(ladders.mlp.deepest().get());
                Target::Level(darwinlm_search::Level::new(level).unwrap())
            }
        }
    }

    fn schedule(&self) -> Schedule {
        let step = |(at, &survivors): (usize, &u32)| SelectionStep {
            survivors,
            training_tokens: 30 * at as u64 + 17,
            fitness_tokens: 33 + 16 * at as u64,
        };
        Schedule::new(self.survivors.iter().enumerate().map(step).collect()).unwrap()
    }
}

pub(crate) fn optimizer() -> Optimizer {
    Optimizer {
        learning_rate: "1e-5".to_owned(),
        weight_decay: "0.01".to_owned(),
        batch_sequences: 1,
    }
}

pub(crate) fn pins() -> Pins {
    Pins {
        training_tokens: Digest::of(b"training"),
        fitness_tokens: Digest::of(b"fitness"),
        numerics_plan: Digest::of(b"plan"),
        level_database: Digest::of(b"database"),
        latency_table: None,
    }
}

/// Rising errors per level, different for every module.
pub(crate) fn errors(seed: u64, blocks: u32, ladders: &Ladders) -> Vec<Vec<f64>> {
    let modules = darwinlm_search::Module::all(blocks);
    let of_module = |module: darwinlm_search::Module| {
        let levels = 0..ladders[module.kind].as_slice().len();
        let weight = 1 + hash(&format!("{seed} {module}")) % 64;
        levels
            .map(|level| (weight * (level * level) as u64) as f64 / 8.0)
            .collect()
    };
    modules.map(of_module).collect()
}

/// 64 bits that depend on every character.
pub(crate) fn hash(text: &str) -> u64 {
    let digest = Digest::of(text.as_bytes());
    u64::from_le_bytes(digest.as_bytes()[..8].try_into().unwrap())
}

/// A table in place of a model: every module has a weight, every minibatch shifts the sum.
pub(crate) fn score(trial: &Trial) -> Outcome {
    let modules = trial.genome.modules().map(|(module, level)| {
        let weight = 1 + hash(&format!("weight of {module}")) % 97;
        weight * u64::from(level.get()) * u64::from(level.get())
    });
    let shift = hash(&serde_json::to_string(&(&trial.training, &trial.fitness)).unwrap()) % 200;
    let noise = hash(&format!("{} {shift}", trial.genome)) % 50;
    Outcome::of((modules.sum::<u64>() + shift + noise) as f64 / 1024.0)
}

/// Runs a search to its end; entry 0 first.
pub(crate) fn run(search: &mut Search, score: impl Fn(&Trial) -> Outcome) -> Vec<Entry> {
    let mut entries = vec![search.genesis()];
    while !search.is_finished() {
        for trial in search.ask() {
            if let Told::GenerationComplete(entry) = search.tell(trial.id, score(&trial)).unwrap() {
                entries.push(entry);
            }
        }
    }
    entries
}

pub(crate) fn finished(problem: &Problem) -> (Search, Vec<Entry>) {
    let mut search = Search::new(problem.clone()).unwrap();
    let entries = run(&mut search, score);
    (search, entries)
}
