//! The model card of an exported folder: what the model is, how it is loaded, where it comes from.
//!
//! It says what the run recorded and nothing more: figures of quality stand in it only where the
//! run measured them.

mod blocks;
mod figures;
mod front_matter;
mod loading;
mod provenance;
#[cfg(test)]
mod tests;

pub use front_matter::hub_name;
pub use provenance::Provenance;

use darwinlm_search::{Genome, Ladders, Shape};
use darwinlm_task::{EvaluationReport, ExportFormat, QueryHeadLayout};

use crate::model::Family;

/// Everything that a card tells.
#[derive(Clone, Debug)]
pub struct Card<'a> {
    /// The format of the folder.
    pub format: ExportFormat,
    /// How query heads that lost their neighbours find their keys and values.
    pub layout: QueryHeadLayout,
    /// What the blocks are made of.
    pub family: Family,
    /// The dense model's name on the Hub, where its configuration says it.
    pub base_model: Option<&'a str>,
    /// Whether the folder has a tokenizer.
    pub tokenizer: bool,
    /// The dense model's sizes.
    pub shape: &'a Shape,
    /// Units kept at each level.
    pub ladders: &'a Ladders,
    /// The survivor's levels.
    pub genome: &'a Genome,
    /// Sizes.
    pub parameters: Parameters,
    /// What the run measured.
    pub evaluation: Option<&'a EvaluationReport>,
    /// Where the model comes from.
    pub provenance: &'a Provenance,
}

/// Weights before, after, and in the folder.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    /// Of the dense model.
    pub dense: u64,
    /// Of the survivor, as the search counts them.
    pub pruned: u64,
    /// In the folder's weights.
    pub stored: u64,
}

impl Card<'_> {
    /// The text of `README.md`.
    pub fn text(&self) -> String {
        let parts = [
            front_matter::text(self),
            self.introduction(),
            figures::parameters(self),
            self.evaluation.map(figures::evaluation).unwrap_or_default(),
            self.speed().unwrap_or_default(),
            loading::text(self),
            blocks::table(self),
            self.provenance.text(),
        ];
        parts.concat()
    }

    /// The shrunk model was measured: a masked one saves nothing.
    fn speed(&self) -> Option<String> {
        let latency = self.evaluation?.latency.as_ref()?;
        match self.format {
            ExportFormat::Transformers => Some(figures::speed(latency)),
            ExportFormat::MaskedDense => None,
        }
    }

    fn introduction(&self) -> String {
        let of = match self.base_model {
            Some(name) => format!("[{name}](https://huggingface.co/{name})"),
            None => format!("A dense {} model", self.family.class()),
        };
        let form = match self.format {
            ExportFormat::Transformers => {
                "Every block has its own sizes: the weights are those that are left, and \
                 `modeling_darwinlm.py`\nbuilds the blocks out of the stock classes of transformers."
            }
            ExportFormat::MaskedDense => {
                "The weights have the shapes of the dense model, with zeros where units were removed: \
                 stock classes\nload them, and neither memory nor time is saved."
            }
        };
        format!(
            "# Pruned {}\n\n\
             {of},\nstructurally pruned by DarwinLM: heads and mlp columns were removed by \
             second-order information, and an\nevolutionary search decided how many of each block. The \
             weights are those of the level database; nothing\nwas trained after the search.\n\n\
             {form}\n\n",
            self.family.class()
        )
    }
}
