//! One safetensors file, mapped into memory and read tensor by tensor.

use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors};
use tch::{Kind, Tensor};

use super::WeightsError;

/// A mapped safetensors file whose header was read and whose length was checked.
#[derive(Debug)]
pub struct MappedTensors {
    path: PathBuf,
    map: Mmap,
    data_start: usize,
    metadata: Metadata,
}

impl MappedTensors {
    /// Maps `path` and reads its header; a truncated file is refused here.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let io = |source| WeightsError::Io {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(io)?;
        // SAFETY: the files of a store are written once and never changed in place, so the mapped
        // bytes stay as they are for as long as this value lives.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let (header_bytes, metadata) =
            SafeTensors::read_metadata(&map).map_err(|source| WeightsError::Format {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            map,
            data_start: header_bytes + 8,
            metadata,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort();
        names
    }

    /// Whether the file has a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Result<Vec<i64>, WeightsError> {
        let info = self.metadata.info(name).ok_or_else(|| self.missing(name))?;
        Ok(info.shape.iter().map(|&n| n as i64).collect())
    }

    /// Reads a floating-point tensor in the type it is stored in, on the CPU.
    pub fn float(&self, name: &str) -> Result<Tensor, WeightsError> {
        let (dtype, shape, bytes) = self.raw(name)?;
        let kind = match dtype {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => return Err(self.refuse(name, other, "F32, F16, BF16")),
        };
        self.tensor(name, bytes, &shape, kind)
    }

    /// Reads a floating-point tensor of the shape of `like`, to its type and device.
    pub fn float_like(&self, name: &str, like: &Tensor) -> Result<Tensor, WeightsError> {
        let found = self.shape(name)?;
        if found != like.size() {
            return Err(WeightsError::Shape {
                name: name.to_owned(),
                path: self.path.clone(),
                expected: like.size(),
                found,
            });
        }
        let moved = self
            .float(name)?
            .f_to_device(like.device())
            .and_then(|stored| stored.f_to_kind(like.kind()));
        moved.map_err(|source| WeightsError::Torch {
            name: name.to_owned(),
            source,
        })
    }

    /// Reads a tensor of 64-bit floating-point numbers, in order.
    pub fn doubles(&self, name: &str) -> Result<Vec<f64>, WeightsError> {
        let (dtype, _, bytes) = self.raw(name)?;
        if dtype != Dtype::F64 {
            return Err(self.refuse(name, dtype, "F64"));
        }
        let numbers = bytes.chunks_exact(8);
        Ok(numbers
            .map(|number| f64::from_le_bytes(number.try_into().expect("8 bytes")))
            .collect())
    }

    /// Reads an integer tensor as 64-bit integers, on the CPU.
    pub fn integers(&self, name: &str) -> Result<Tensor, WeightsError> {
        let (dtype, shape, bytes) = self.raw(name)?;
        match dtype {
            Dtype::I64 => self.tensor(name, bytes, &shape, Kind::Int64),
            Dtype::I32 => Ok(self
                .tensor(name, bytes, &shape, Kind::Int)?
                .to_kind(Kind::Int64)),
            // torch has no 32-bit unsigned arithmetic: read as signed, then take the sign back out
            Dtype::U32 => {
                let signed = self
                    .tensor(name, bytes, &shape, Kind::Int)?
                    .to_kind(Kind::Int64);
                Ok(signed.bitwise_and(i64::from(u32::MAX)))
            }
            other => Err(self.refuse(name, other, "I64, I32, U32")),
        }
    }

    /// Reads rows `start..start + rows` of a floating-point tensor, without touching the others.
    pub fn float_rows(&self, name: &str, start: i64, rows: i64) -> Result<Tensor, WeightsError> {
        let (dtype, mut shape, bytes) = self.raw(name)?;
        let kind = match dtype {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => return Err(self.refuse(name, other, "F32, F16, BF16")),
        };
        let available = shape.first().copied().unwrap_or(0);
        if start < 0 || rows < 0 || start + rows > available {
            let expected = std::iter::once(start + rows).chain(shape.iter().skip(1).copied());
            return Err(WeightsError::Shape {
                name: name.to_owned(),
                path: self.path.clone(),
                expected: expected.collect(),
                found: shape,
            });
        }
        let row_bytes = bytes.len() / available.max(1) as usize;
        shape[0] = rows;
        let first = start as usize * row_bytes;
        self.tensor(
            name,
            &bytes[first..first + rows as usize * row_bytes],
            &shape,
            kind,
        )
    }

    fn raw(&self, name: &str) -> Result<(Dtype, Vec<i64>, &[u8]), WeightsError> {
        let info = self.metadata.info(name).ok_or_else(|| self.missing(name))?;
        let (start, end) = info.data_offsets;
        let bytes = &self.map[self.data_start + start..self.data_start + end];
        Ok((
            info.dtype,
            info.shape.iter().map(|&n| n as i64).collect(),
            bytes,
        ))
    }

    fn tensor(
        &self,
        name: &str,
        bytes: &[u8],
        shape: &[i64],
        kind: Kind,
    ) -> Result<Tensor, WeightsError> {
        Tensor::f_from_data_size(bytes, shape, kind).map_err(|source| WeightsError::Torch {
            name: name.to_owned(),
            source,
        })
    }

    fn missing(&self, name: &str) -> WeightsError {
        WeightsError::Missing {
            name: name.to_owned(),
            path: self.path.clone(),
        }
    }

    fn refuse(&self, name: &str, found: Dtype, accepted: &'static str) -> WeightsError {
        let (name, path) = (name.to_owned(), self.path.clone());
        WeightsError::Dtype {
            name,
            path,
            found: format!("{found:?}"),
            accepted,
        }
    }
}
