//! `manifest.json` of a level database: what it was made from and what its files are.

use std::path::Path;

use darwinlm_search::{Costs, Ladder, Ladders, Module, Shape};
use serde::{Deserialize, Serialize};

use super::DatabaseError;
use crate::prune::Damping;

/// The format this crate writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;

pub(super) const FILE_NAME: &str = "manifest.json";

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
    /// Thousandths of the mean diagonal that were asked for as damping.
    pub damping_permille: u32,
    /// Every module, in module order.
    pub modules: Vec<ModuleEntry>,
}

/// One module's file and figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModuleEntry {
    /// The module.
    pub module: Module,
    /// Its file, in the folder of the manifest.
    pub file: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// sha256 of the file, as lower-case hex.
    pub sha256: String,
    /// How its Hessian was damped.
    pub damping: Damping,
    /// tr(ΔW H ΔWᵀ) at every level, 0 for level 0.
    pub errors: Vec<f64>,
}

impl Manifest {
    /// Writes `manifest.json` into `folder`, after everything that it names.
    pub fn write(&self, folder: &Path) -> Result<(), DatabaseError> {
        let path = folder.join(FILE_NAME);
        let mut text = serde_json::to_vec_pretty(self).expect("a manifest holds nothing unusual");
        text.push(b'\n');
        let part = folder.join("manifest.json.part");
        let io = |source| DatabaseError::Io {
            path: path.clone(),
            source,
        };
        std::fs::write(&part, text).map_err(io)?;
        std::fs::rename(&part, &path).map_err(io)
    }

    /// Reads and validates `manifest.json` of `folder`.
    pub fn read(folder: &Path) -> Result<Self, DatabaseError> {
        let path = folder.join(FILE_NAME);
        let text = std::fs::read(&path).map_err(|source| DatabaseError::Io {
            path: path.clone(),
            source,
        })?;
        let refused = |reason: String| DatabaseError::Manifest {
            path: path.clone(),
            reason,
        };
        let manifest: Self = serde_json::from_slice(&text).map_err(|e| refused(e.to_string()))?;
        manifest.validate().map_err(refused)?;
        Ok(manifest)
    }

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
            if Path::new(&entry.file).components().count() != 1 {
                return Err(format!("file \"{}\" is not a plain file name", entry.file));
            }
        }
        Ok(())
    }

    /// The ladder of a module.
    pub fn ladder(&self, module: Module) -> &Ladder {
        &self.ladders[module.kind]
    }
}
