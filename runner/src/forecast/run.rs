//! A run as far as its spec and its model's configuration tell it.

use darwinlm_search::{Genome, Ladders, Level, Shape};
use darwinlm_task::{
    DataSpec, EvaluationSpec, ExportSpec, PostTrainingSpec, SearchForecast, SearchSettings,
    SliceSpec, StorageForecast,
};

use crate::memory::{Kept, Sizes};

/// A run, counted.
#[derive(Debug)]
pub struct Run<'a> {
    /// Sizes and numerics.
    pub sizes: Sizes,
    /// What each level of a module keeps.
    pub ladders: Ladders,
    /// The genome that the search starts with: all others are about as large.
    pub start: Genome,
    /// Bytes of a number in the model's files.
    pub stored_bytes: u64,
    /// The four slices.
    pub data: &'a DataSpec,
    /// Sizes to time, of both kinds together, where anything counts in latency.
    pub timed_sizes: Option<u32>,
    /// How to search.
    pub settings: &'a SearchSettings,
    /// Generations that one Job runs.
    pub generations_per_job: u32,
    /// How the survivor is trained, if it is.
    pub training: Option<&'a PostTrainingSpec>,
    /// What is measured at the end, if anything is.
    pub evaluation: Option<&'a EvaluationSpec>,
    /// What is exported, if anything is.
    pub export: Option<&'a ExportSpec>,
}

impl Run<'_> {
    /// The dense model's sizes.
    pub fn shape(&self) -> &Shape {
        &self.sizes.shape
    }

    /// What the blocks of the dense model hold.
    pub fn dense(&self) -> Vec<Kept> {
        self.sizes.dense_blocks()
    }

    /// What the blocks of the start hold.
    pub fn candidate(&self) -> Vec<Kept> {
        Kept::of(self.shape(), &self.ladders, &self.start)
    }

    /// Parameters of a genome.
    pub fn parameters(&self, genome: &Genome) -> u64 {
        let shape = self.shape();
        let modules = genome.modules().map(|(module, level)| {
            let units = self.ladders[module.kind].units_kept(level).unwrap_or(0);
            shape.parameters_at(module.kind, units)
        });
        shape.fixed_parameters() + modules.sum::<u64>()
    }

    /// Parameters of the dense model.
    pub fn dense_parameters(&self) -> u64 {
        self.parameters(&Genome::uniform(self.shape().blocks, Level::DENSE))
    }

    /// Tokens of a slice, in whole sequences.
    pub fn tokens(&self, slice: &SliceSpec) -> u64 {
        let length = u64::from(self.data.sequence_length.max(1));
        slice.tokens.div_ceil(length) * length
    }

    /// Candidates of each selection step: all offspring in the first, the parent besides in the last.
    pub fn candidates(&self) -> Vec<u32> {
        let steps = &self.settings.steps;
        let survived = steps.iter().map(|step| step.survivors);
        let mut candidates: Vec<u32> = [self.settings.offspring]
            .into_iter()
            .chain(survived)
            .take(steps.len())
            .collect();
        if let Some(last) = candidates.last_mut() {
            *last += 1;
        }
        candidates
    }

    /// How much searching there is.
    pub fn search(&self) -> SearchForecast {
        let generations = self.settings.generations;
        let candidates = self.candidates();
        let sum = |of: &dyn Fn(usize) -> u64| -> u64 {
            let steps = candidates.iter().enumerate();
            let steps = steps.map(|(step, &count)| u64::from(count).saturating_mul(of(step)));
            steps.fold(0, u64::saturating_add)
        };
        let steps = &self.settings.steps;
        let all = |of_one: u64| of_one.saturating_mul(u64::from(generations));
        let validated = (u64::from(generations) + 1) * self.tokens(&self.data.validation);
        SearchForecast {
            generations,
            trials: all(sum(&|_| 1)),
            tokens_trained: all(sum(&|step| steps[step].training_tokens)),
            tokens_scored: all(sum(&|step| steps[step].fitness_tokens)).saturating_add(validated),
            candidates,
        }
    }

    /// Bytes of the dense model's files.
    pub fn model_bytes(&self) -> u64 {
        self.dense_parameters() * self.stored_bytes
    }

    /// Bytes of the level database: the owner matrix of every level between dense and removed.
    pub fn database_bytes(&self) -> u64 {
        let shape = self.shape();
        let rows = u64::from(shape.hidden) * self.sizes.element();
        let columns = darwinlm_search::ModuleKind::ALL.map(|kind| {
            let width = u64::from(crate::stitch::columns_per_unit(shape, kind));
            let kept = self.ladders[kind].as_slice().iter().skip(1);
            kept.map(|&units| u64::from(units) * width).sum::<u64>()
        });
        u64::from(shape.blocks) * rows * columns.iter().sum::<u64>()
    }

    /// Bytes of the dense model's states over fitness and validation tokens.
    pub fn teacher_bytes(&self) -> u64 {
        let tokens = self.tokens(&self.data.fitness) + self.tokens(&self.data.validation);
        tokens * u64::from(self.shape().hidden) * self.sizes.element()
    }

    /// Bytes of everything that post-training goes on from.
    pub fn checkpoint_bytes(&self) -> u64 {
        3 * 4 * self.parameters(&self.start)
    }

    /// What the store will hold.
    pub fn storage(&self) -> Vec<StorageForecast> {
        let mut storage = Vec::new();
        let mut add = |what: &str, bytes, shared| {
            let what = what.to_owned();
            storage.push(StorageForecast {
                what,
                bytes,
                shared,
            });
        };
        let data = self.data;
        let slices = [
            &data.calibration,
            &data.training,
            &data.fitness,
            &data.validation,
        ];
        let tokens: u64 = slices.iter().map(|slice| self.tokens(slice)).sum();
        add("model", self.model_bytes(), true);
        add("tokens", 4 * tokens, true);
        add("level database", self.database_bytes(), true);
        add("teacher states", self.teacher_bytes(), true);
        if self.training.is_some() {
            let trained = self.parameters(&self.start) * self.sizes.element();
            // a new checkpoint is whole before the one before it goes
            add("checkpoints", 2 * self.checkpoint_bytes() + trained, false);
        }
        if let Some(export) = self.export {
            let of = |format: &darwinlm_task::ExportFormat| match format {
                darwinlm_task::ExportFormat::Transformers => self.parameters(&self.start),
                darwinlm_task::ExportFormat::MaskedDense => self.dense_parameters(),
            };
            let parameters: u64 = export.formats.iter().map(of).sum();
            add("exports", parameters * self.stored_bytes, false);
        }
        storage
    }
}
