//! The words of conditions and events, and the codes that workers end with.

use darwinlm_api::conditions::{ConditionType, EventReason, Reason, Stall};
use darwinlm_task::ExitCode;

use super::{row, table};
use crate::run_controller::{decide::reason_of_exit, observed::sign_of_exit};

pub(super) fn conditions(text: &mut String) {
    *text += &table(
        "Conditions",
        "`darwinlm watch NAME` waits for the end: 0 if it has succeeded, else 1. `kubectl wait --for=condition=Succeeded --timeout=24h \
         pruningrun/NAME` waits for success alone: of a run that has failed it notices nothing.",
        &["type", "meaning"],
    );
    for word in ConditionType::ALL {
        *text += &row(&[&format!("`{word}`"), word.meaning()]);
    }
}

pub(super) fn reasons(text: &mut String) {
    *text += &table(
        "Reasons",
        "Why a condition has its status. Several remedies belong to several causes, which the next table tells apart; the condition's message \
         has the one that helps.",
        &["reason", "meaning", "what to do"],
    );
    for word in Reason::ALL {
        let remedies = match word.remedies().as_slice() {
            [] => "–".to_owned(),
            remedies => remedies.join("; or: "),
        };
        *text += &row(&[&format!("`{word}`"), word.meaning(), &remedies]);
    }
}

pub(super) fn causes(text: &mut String) {
    *text += &table(
        "Why a run does not move",
        "Every cause that `Progressing=False` tells, the weightiest first: where several hold, the first is told. The message holds who said \
         what, and the remedy.",
        &["what is seen", "reason", "remedy"],
    );
    for stall in Stall::ALL {
        let reason = format!("`{}`", stall.reason());
        *text += &row(&[stall.seen(), &reason, stall.remedy()]);
    }
}

pub(super) fn events(text: &mut String) {
    *text += &table("Events", "", &["reason", "type", "when"]);
    for word in EventReason::ALL {
        let type_ = match word {
            EventReason::Stalled => "Warning; Normal in a queue",
            word if word.is_warning() => "Warning",
            _ => "Normal",
        };
        *text += &row(&[&format!("`{word}`"), type_, word.meaning()]);
    }
}

pub(super) fn exit_codes(text: &mut String) {
    *text += &table(
        "Exit codes",
        "Of a worker; `darwinlm run` ends with the one that ended its run, or with 130 or 143 where it was stopped. A worker that is tried \
         again is so six times a Job, but for 75, which does not count.",
        &["code", "meaning", "what becomes of the run"],
    );
    for code in ExitCode::ALL {
        let then = match (code, code.is_final()) {
            (ExitCode::Done, _) => "it goes on with the next task".to_owned(),
            (ExitCode::BadSpec, _) => format!(
                "it fails at once: `{}`, or `{}`",
                reason_of_exit(code),
                Reason::DeviceUnusable
            ),
            (code, true) => format!("it fails at once: `{}`", reason_of_exit(code)),
            (code, false) => {
                let meanwhile = sign_of_exit(Some(i32::from(code.code()))).reason();
                let (meanwhile, end) = (meanwhile.as_str(), reason_of_exit(code).as_str());
                match meanwhile == end {
                    true => format!("the worker is tried again: `{meanwhile}`"),
                    false => format!(
                        "the worker is tried again: `{meanwhile}`; if that never helps: `{end}`"
                    ),
                }
            }
        };
        *text += &row(&[&format!("`{}`", code.code()), code.meaning(), &then]);
    }
}
