//! Writing safetensors with the same bytes every time: sorted names, no times, no paths.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, View};
use tch::{Kind, Tensor};

use super::WeightsError;

/// Writes named tensors to `path`, one at a time. `format` becomes the file's only metadata entry, which
/// transformers asks for ("pt").
pub fn write_tensors(
    path: &Path,
    tensors: &[(String, Tensor)],
    format: Option<&str>,
) -> Result<(), WeightsError> {
    let views = tensors
        .iter()
        .map(|(name, tensor)| Ok((name.as_str(), Held::new(name, tensor, path)?)))
        .collect::<Result<Vec<_>, WeightsError>>()?;
    let metadata = format.map(|f| HashMap::from([("format".to_owned(), f.to_owned())]));
    safetensors::serialize_to_file(views, metadata, path).map_err(|source| WeightsError::Format {
        path: path.to_owned(),
        source,
    })
}

/// A tensor whose bytes are copied to the host when it is its turn to be written, and only then.
struct Held<'a> {
    name: &'a str,
    tensor: &'a Tensor,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl<'a> Held<'a> {
    fn new(name: &'a str, tensor: &'a Tensor, path: &Path) -> Result<Self, WeightsError> {
        Ok(Self {
            name,
            tensor,
            dtype: dtype_of(name, tensor.kind(), path)?,
            shape: tensor.size().iter().map(|&n| n as usize).collect(),
        })
    }
}

impl View for Held<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // the format's writer takes no error from here
        let bytes = bytes_of(self.name, self.tensor);
        bytes
            .expect("a tensor that exists can be copied to the host")
            .into()
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

/// Writes one tensor whose rows are made a few at a time, so that it never lies in memory whole.
pub struct StreamWriter {
    path: PathBuf,
    file: BufWriter<File>,
    kind: Kind,
    row_shape: Vec<i64>,
    rows_missing: i64,
}

impl StreamWriter {
    /// Starts a file with the single tensor `name` of `shape`, to be filled along dimension 0.
    pub fn create(
        path: &Path,
        name: &str,
        shape: &[i64],
        kind: Kind,
    ) -> Result<Self, WeightsError> {
        let io = |source| WeightsError::Io {
            path: path.to_owned(),
            source,
        };
        let dtype = dtype_of(name, kind, path)?;
        let bytes = shape.iter().product::<i64>() as usize * kind.elt_size_in_bytes();
        let mut header = serde_json::json!({
            name: {"dtype": dtype.to_string(), "shape": shape, "data_offsets": [0, bytes]}
        })
        .to_string();
        // data begins at a multiple of 8, as the format's own writer has it
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut file = BufWriter::new(File::create(path).map_err(io)?);
        file.write_all(&(header.len() as u64).to_le_bytes())
            .map_err(io)?;
        file.write_all(header.as_bytes()).map_err(io)?;
        let row_shape = shape[1..].to_vec();
        Ok(Self {
            path: path.to_owned(),
            file,
            kind,
            row_shape,
            rows_missing: shape[0],
        })
    }

    /// Appends rows [rows, …].
    pub fn append(&mut self, rows: &Tensor) -> Result<(), WeightsError> {
        let size = rows.size();
        assert!(
            size[1..] == self.row_shape[..] && size[0] <= self.rows_missing,
            "rows of shape {size:?} do not fit {:?} with {} rows missing",
            self.row_shape,
            self.rows_missing
        );
        let bytes = bytes_of("rows", &rows.to_kind(self.kind))?;
        self.rows_missing -= size[0];
        self.file
            .write_all(&bytes)
            .map_err(|source| WeightsError::Io {
                path: self.path.clone(),
                source,
            })
    }

    /// Ends the file; every row must have come.
    pub fn finish(self) -> Result<(), WeightsError> {
        assert!(
            self.rows_missing == 0,
            "{} rows were never written",
            self.rows_missing
        );
        let io = |source| WeightsError::Io {
            path: self.path.clone(),
            source,
        };
        self.file
            .into_inner()
            .map_err(|error| io(error.into_error()))?
            .sync_all()
            .map_err(io)
    }
}

fn dtype_of(name: &str, kind: Kind, path: &Path) -> Result<Dtype, WeightsError> {
    Ok(match kind {
        Kind::Double => Dtype::F64,
        Kind::Float => Dtype::F32,
        Kind::Half => Dtype::F16,
        Kind::BFloat16 => Dtype::BF16,
        Kind::Int => Dtype::I32,
        Kind::Int64 => Dtype::I64,
        other => {
            return Err(WeightsError::Dtype {
                name: name.to_owned(),
                path: path.to_owned(),
                found: format!("{other:?}"),
                accepted: "F64, F32, F16, BF16, I32, I64",
            });
        }
    })
}

fn bytes_of(name: &str, tensor: &Tensor) -> Result<Vec<u8>, WeightsError> {
    let torch = |source| WeightsError::Torch {
        name: name.to_owned(),
        source,
    };
    let host = tensor
        .f_to_device(tch::Device::Cpu)
        .and_then(|t| t.f_contiguous())
        .map_err(torch)?;
    let mut bytes = vec![0; host.numel() * host.kind().elt_size_in_bytes()];
    host.f_copy_data_u8(&mut bytes, host.numel())
        .map_err(torch)?;
    Ok(bytes)
}
