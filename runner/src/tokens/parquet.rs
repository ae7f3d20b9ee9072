//! Documents out of a column of a `.parquet` file, a few rows at a time.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::TokensError;

/// Rows that are decoded at once.
const BATCH: usize = 256;

/// The texts of one column, row group by row group.
pub(super) struct Rows {
    reader: SerializedFileReader<File>,
    column: usize,
    next_group: usize,
    open: Option<ColumnReaderImpl<ByteArrayType>>,
    ready: VecDeque<ByteArray>,
    path: PathBuf,
    field: String,
}

impl Rows {
    /// Opens a file and finds the column, which holds one text in a row or none.
    pub(super) fn open(file: File, path: &Path, field: &str) -> Result<Self, TokensError> {
        let wrong = |reason: String| TokensError::Parquet {
            path: path.to_owned(),
            reason,
            field: field.to_owned(),
        };
        let reader = SerializedFileReader::new(file).map_err(|error| wrong(error.to_string()))?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let columns = schema.columns();
        let column = columns
            .iter()
            .position(|column| column.path().string() == field);
        let Some(column) = column else {
            let names: Vec<String> = columns
                .iter()
                .map(|column| column.path().string())
                .collect();
            return Err(wrong(format!("its columns are {}", names.join(", "))));
        };
        let found = &columns[column];
        if found.physical_type() != Type::BYTE_ARRAY || found.max_rep_level() > 0 {
            let what = if found.max_rep_level() > 0 {
                "a list"
            } else {
                "no text"
            };
            return Err(wrong(format!("column \"{field}\" is {what}")));
        }
        Ok(Self {
            column,
            next_group: 0,
            open: None,
            ready: VecDeque::new(),
            path: path.to_owned(),
            field: field.to_owned(),
            reader,
        })
    }

    /// Decodes the next rows; false at the end of the file.
    fn refill(&mut self) -> Result<bool, ParquetError> {
        loop {
            if let Some(column) = &mut self.open {
                let (mut levels, mut values) = (Vec::new(), Vec::new());
                let (rows, _, _) =
                    column.read_records(BATCH, Some(&mut levels), None, &mut values)?;
                if rows > 0 {
                    self.ready.extend(values);
                    return Ok(true);
                }
            }
            if self.next_group == self.reader.num_row_groups() {
                return Ok(false);
            }
            let group = self.reader.get_row_group(self.next_group)?;
            self.next_group += 1;
            self.open = match group.get_column_reader(self.column)? {
                ColumnReader::ByteArrayColumnReader(column) => Some(column),
                _ => {
                    let reason = "a row group holds another type than the file says";
                    return Err(ParquetError::General(reason.to_owned()));
                }
            };
        }
    }

    fn wrong(&self, reason: impl ToString) -> TokensError {
        TokensError::Parquet {
            path: self.path.clone(),
            reason: reason.to_string(),
            field: self.field.clone(),
        }
    }
}

impl Iterator for Rows {
    type Item = Result<String, TokensError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    // What follows cannot be read either.
                    self.next_group = self.reader.num_row_groups();
                    self.open = None;
                    return Some(Err(self.wrong(error)));
                }
            }
        }
        let text = self.ready.pop_front()?;
        Some(match text.as_utf8() {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(self.wrong(error)),
        })
    }
}
