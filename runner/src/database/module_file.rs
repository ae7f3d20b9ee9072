//! One module's file of a level database.

use std::path::Path;

use darwinlm_search::Module;
use tch::Tensor;

use super::{DatabaseError, ModuleEntry};
use crate::prune::ModuleLevels;
use crate::weights::write_tensors;

pub(super) const ORDER: &str = "removal_order";

pub(super) fn level_name(level: usize) -> String {
    format!("level.{level}.weight")
}

/// The name of a module's file.
pub fn file_name(module: Module) -> String {
    format!("{module}.safetensors")
}

/// Writes a module's levels into `folder` and returns its entry for the manifest.
pub fn write_module(
    folder: &Path,
    module: Module,
    levels: &ModuleLevels,
) -> Result<ModuleEntry, DatabaseError> {
    let path = folder.join(file_name(module));
    let order: Vec<i32> = levels
        .order
        .iter()
        .map(|&unit| i32::try_from(unit).expect("units of a module fit 31 bits"))
        .collect();
    let mut tensors = vec![(ORDER.to_owned(), Tensor::from_slice(&order))];
    tensors.extend(
        levels
            .levels
            .iter()
            .enumerate()
            .map(|(index, level)| (level_name(index + 1), level.weight_RS.shallow_clone())),
    );
    write_tensors(&path, &tensors, None)?;
    Ok(ModuleEntry {
        module,
        damping: levels.damping.clone(),
        errors: levels.errors.clone(),
    })
}
