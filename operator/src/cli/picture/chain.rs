//! The tasks of a run as a chain.

use console::{measure_text_width, style};
use darwinlm_task::TaskKind;

use super::Room;

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Mark {
    /// It has ended as asked.
    Done,
    /// Somebody is at it, or it is next.
    AtWork,
    /// It comes later.
    Later,
    /// It has failed.
    Failed,
}

/// A task and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Link {
    pub(in crate::cli) task: TaskKind,
    pub(in crate::cli) mark: Mark,
    /// How far it is, where that is known.
    pub(in crate::cli) note: String,
}

impl Mark {
    /// The sign, as on the page of `explain`.
    pub(in crate::cli) const fn sign(self) -> &'static str {
        match self {
            Self::Done => "✓",
            Self::AtWork => "▸",
            Self::Later => "·",
            Self::Failed => "✗",
        }
    }

    fn painted(self, text: &str, colours: bool) -> String {
        let text = style(text).force_styling(colours);
        match self {
            Self::Done => text.green(),
            Self::AtWork => text.yellow().bold(),
            Self::Later => text.dim(),
            Self::Failed => text.red().bold(),
        }
        .to_string()
    }
}

impl Link {
    pub(in crate::cli) const fn new(task: TaskKind, mark: Mark) -> Self {
        let note = String::new();
        Self { task, mark, note }
    }
}

/// The chain, in as many lines as it takes.
pub(super) fn lines(chain: &[Link], room: Room) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for Link { task, mark, note } in chain {
        let text = format!("{} {} {note}", mark.sign(), task.name());
        let link = mark.painted(text.trim_end(), room.colours);
        match lines.last_mut() {
            Some(line)
                if measure_text_width(line) + 3 + measure_text_width(&link) <= room.width =>
            {
                *line = format!("{line} ─ {link}");
            }
            Some(_) | None => lines.push(link),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_coloured_only_where_colours_are_seen_and_wraps_between_tasks() {
        let chain = [
            Link::new(TaskKind::Prepare, Mark::Done),
            Link::new(TaskKind::BuildDatabase, Mark::AtWork),
            Link::new(TaskKind::Export, Mark::Later),
        ];
        let room = |width, colours| Room {
            width,
            height: None,
            colours,
        };
        assert_eq!(
            lines(&chain, room(80, false)),
            ["✓ prepare ─ ▸ build-database ─ · export"]
        );
        assert_eq!(
            lines(&chain, room(30, false)),
            ["✓ prepare ─ ▸ build-database", "· export"]
        );
        assert!(lines(&chain, room(80, true))[0].contains('\x1b'));
    }
}
