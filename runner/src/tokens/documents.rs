//! Documents out of files, one after another: no more of a file is read than is asked for.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::parquet::Rows;
use super::{Form, TokensError};

/// The documents of a file.
pub type Documents = Box<dyn Iterator<Item = Result<String, TokensError>>>;

/// Documents of a file: a `.txt` file is one, every line of a `.jsonl` file and every row of a
/// `.parquet` file is one (its `field`). Empty lines and rows without a text are skipped.
pub fn documents(path: &Path, field: &str) -> Result<Documents, TokensError> {
    let io = |source| TokensError::Io {
        path: path.to_owned(),
        source,
    };
    let open = || File::open(path).map_err(io);
    Ok(match Form::of(path) {
        Some(Form::Plain) => Box::new(std::iter::once(std::fs::read_to_string(path).map_err(io))),
        Some(Form::Lines) => lines(open()?, path, field),
        // A file that was put together from several has several members.
        Some(Form::LinesGzip) => lines(flate2::read::MultiGzDecoder::new(open()?), path, field),
        Some(Form::LinesZstd) => lines(zstd::Decoder::new(open()?).map_err(io)?, path, field),
        Some(Form::Parquet) => Box::new(Rows::open(open()?, path, field)?),
        Some(Form::Tokens) | None => {
            return Err(TokensError::Extension {
                path: path.to_owned(),
            });
        }
    })
}

fn lines(from: impl Read + 'static, path: &Path, field: &str) -> Documents {
    Box::new(Lines {
        lines: BufReader::with_capacity(1 << 16, from).lines(),
        number: 0,
        path: path.to_owned(),
        field: field.to_owned(),
    })
}

/// The lines of a file, each an object with a text.
struct Lines<R> {
    lines: std::io::Lines<R>,
    number: usize,
    path: PathBuf,
    field: String,
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<String, TokensError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.number += 1;
            let line = match self.lines.next()? {
                Ok(line) => line,
                Err(source) => {
                    let path = self.path.clone();
                    return Some(Err(TokensError::Io { path, source }));
                }
            };
            if line.trim().is_empty() {
                continue;
            }
            return Some(
                document(&line, &self.field).map_err(|reason| TokensError::Line {
                    path: self.path.clone(),
                    line: self.number,
                    reason,
                    field: self.field.clone(),
                }),
            );
        }
    }
}

fn document(line: &str, field: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let text = value
        .get(field)
        .ok_or_else(|| format!("there is no field \"{field}\""))?;
    Ok(text
        .as_str()
        .ok_or_else(|| format!("field \"{field}\" is no text"))?
        .to_owned())
}
