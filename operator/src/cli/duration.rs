//! How long something takes or has taken, as people say it.

use k8s_openapi::jiff::SignedDuration;

/// A duration in its two largest units: `3 h 20 min`.
pub(super) fn said(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// So many seconds, in the same words.
pub(super) fn said_seconds(seconds: i64) -> String {
    said(SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_said_in_its_two_largest_units() {
        assert_eq!(said_seconds(-3), "0 s");
        assert_eq!(said_seconds(59), "59 s");
        assert_eq!(said_seconds(75), "1 min 15 s");
        assert_eq!(said_seconds(12_000), "3 h 20 min");
        assert_eq!(said_seconds(200_000), "2 d 7 h");
    }
}
