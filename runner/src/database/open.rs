//! Reading a level database, file by file as modules are asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use darwinlm_search::{Level, Module};
use tch::Tensor;

use super::module_file::{ORDER, level_name};
use super::{DatabaseError, Manifest};
use crate::prune::kept_units;
use crate::weights::MappedTensors;

/// An opened level database.
#[derive(Debug)]
pub struct Database {
    manifest: Manifest,
    files: Vec<PathBuf>,
    opened: Mutex<BTreeMap<Module, Arc<MappedTensors>>>,
}

/// A level as it is stored.
#[derive(Debug)]
pub struct StoredLevel {
    /// Units kept, ascending.
    pub kept: Vec<u32>,
    /// The owner matrix [R, S] with the columns of `kept`, on the CPU.
    pub weight_RS: Tensor,
}

impl Database {
    /// A database whose module files lie anywhere on this machine, in module order. Whoever brought
    /// them there checked their digests.
    pub fn over(manifest: Manifest, files: Vec<PathBuf>) -> Result<Self, DatabaseError> {
        let refused = |reason| DatabaseError::Manifest {
            path: PathBuf::from("manifest.json"),
            reason,
        };
        manifest.validate().map_err(refused)?;
        if files.len() != manifest.modules.len() {
            let (found, expected) = (files.len(), manifest.modules.len());
            return Err(refused(format!("{found} files for {expected} modules")));
        }
        Ok(Self {
            manifest,
            files,
            opened: Mutex::default(),
        })
    }

    /// What the database is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The units that a module keeps at a level, ascending.
    pub fn kept(&self, module: Module, level: Level) -> Result<Vec<u32>, DatabaseError> {
        let ladder = self.manifest.ladder(module);
        match ladder.units_kept(level) {
            None => Err(DatabaseError::NoLevel {
                module,
                level,
                last: ladder.deepest().index(),
            }),
            Some(0) => Ok(Vec::new()),
            Some(units) if units == ladder.units() => Ok((0..units).collect()),
            Some(units) => Ok(kept_units(
                &self.order(module, ladder.units())?,
                units as usize,
            )),
        }
    }

    /// Reads a level between dense and removed.
    pub fn level(&self, module: Module, level: Level) -> Result<StoredLevel, DatabaseError> {
        let deepest = self.manifest.ladder(module).deepest();
        if level == Level::DENSE || level >= deepest {
            let last = deepest.index() - 1;
            return Err(DatabaseError::NoLevel {
                module,
                level,
                last,
            });
        }
        Ok(StoredLevel {
            kept: self.kept(module, level)?,
            weight_RS: self.file(module)?.float(&level_name(level.index()))?,
        })
    }

    /// The units in the order they are removed in.
    fn order(&self, module: Module, units: u32) -> Result<Vec<u32>, DatabaseError> {
        let file = self.file(module)?;
        let order_U = file.integers(ORDER)?;
        let mut order = vec![0i64; order_U.numel()];
        order_U.copy_data(&mut order, order_U.numel());
        let order: Vec<u32> = order
            .into_iter()
            .filter_map(|unit| u32::try_from(unit).ok())
            .collect();
        if order.len() != units as usize {
            return Err(DatabaseError::Manifest {
                path: file.path().to_owned(),
                reason: format!("{ORDER} has {} units, not {units}", order.len()),
            });
        }
        Ok(order)
    }

    fn file(&self, module: Module) -> Result<Arc<MappedTensors>, DatabaseError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = opened.get(&module) {
            return Ok(Arc::clone(file));
        }
        let path = self.files.get(module.index());
        let path = path.ok_or_else(|| DatabaseError::Manifest {
            path: PathBuf::from("manifest.json"),
            reason: format!("it has no module {module}"),
        })?;
        let file = Arc::new(MappedTensors::open(path)?);
        opened.insert(module, Arc::clone(&file));
        Ok(file)
    }
}
