//! What a level database is about: what it was made from, and the figures of its modules. The store
//! keeps it in `manifest.json`, beside the digest of every file.

use darwinlm_search::{Costs, Ladder, Ladders, Module, Shape};
use serde::{Deserialize, Serialize};

use crate::prune::Damping;

/// The format this crate writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 2;

/// What a level database is. The same inputs give the same bytes: no time, path or worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Digest of the dense model.
    pub model: String,
    /// Digest of the calibration tokens.
    pub calibration: String,
    /// The dense model's sizes, with the unit of attention.
    pub shape: Shape,
    /// Units kept at each level.
    pub ladders: Ladders,
    /// Parameters of each level.
    pub costs: Costs,
    /// sha256 of the table of latencies, where the ladders were made from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_table: Option<String>,
    /// Thousandths of the mean diagonal that were asked for as damping.
    pub damping_permille: u32,
    /// Every module, in module order.
    pub modules: Vec<ModuleEntry>,
}

/// One module's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModuleEntry {
    /// The module.
    pub module: Module,
    /// How its Hessian was damped.
    pub damping: Damping,
    /// tr(ΔW H ΔWᵀ) at every level, 0 for level 0.
    pub errors: Vec<f64>,
}

impl Manifest {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.format_version != FORMAT_VERSION {
            let found = self.format_version;
            return Err(format!(
                "formatVersion is {found}; accepted: {FORMAT_VERSION}"
            ));
        }
        self.costs
            .fit(&self.ladders)
            .map_err(|error| error.to_string())?;
        let expected: Vec<Module> = Module::all(self.shape.blocks).collect();
        let found: Vec<Module> = self.modules.iter().map(|entry| entry.module).collect();
        if found != expected {
            return Err(format!(
                "modules are {} in number or out of order; expected {} in module order",
                found.len(),
                expected.len()
            ));
        }
        for entry in &self.modules {
            let levels = self.ladder(entry.module).as_slice().len();
            if entry.errors.len() != levels {
                let (module, found) = (entry.module, entry.errors.len());
                return Err(format!("{module} has {found} errors for {levels} levels"));
            }
        }
        Ok(())
    }

    /// The ladder of a module.
    pub fn ladder(&self, module: Module) -> &Ladder {
        &self.ladders[module.kind]
    }
}
