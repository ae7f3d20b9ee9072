//! `darwinlm explain --store`: the page of a run by what its store holds.

use std::io::Write;

use super::super::Failure;
use super::super::picture::{Picture, Room};
use super::picture::picture;
use super::reader::Reader;

/// Columns of a page; longer lines of facts stay whole.
const WIDTH: usize = 100;

/// Prints the page.
pub(in crate::cli) async fn explain(run: Option<&str>, store: &str) -> Result<(), Failure> {
    let mut reader = Reader::open(run, store).await?;
    let stand = reader.look().await?;
    let Picture {
        title,
        chain,
        facts,
        words,
        // Drawn by `watch`.
        grid: _,
        curve: _,
        levels: _,
    } = picture(&stand);
    let page = Picture {
        title,
        chain: Vec::new(),
        facts,
        words,
        ..Picture::default()
    };
    let room = Room {
        width: WIDTH,
        height: None,
        colours: false,
    };
    let tasks = chain.iter().map(|link| {
        let line = format!("{} {:<16}{}", link.mark.sign(), link.task.name(), link.note);
        line.trim_end().to_owned()
    });
    let heading = [String::new(), "Tasks".to_owned()];
    let lines: Vec<_> = page
        .lines(room)
        .into_iter()
        .chain(heading)
        .chain(tasks)
        .collect();
    // Who reads no further has seen enough.
    let _ = std::io::stdout().write_all((lines.join("\n") + "\n").as_bytes());
    Ok(())
}
