//! Where device time went.

/// Each cause's share, the largest first, without what is nothing.
pub(in crate::cli) fn shares(causes: &[(&'static str, i64)]) -> String {
    let all: i64 = causes.iter().map(|(_, part)| *part).sum();
    let mut causes = causes.to_vec();
    causes.sort_by_key(|(_, part)| std::cmp::Reverse(*part));
    let told = causes.iter().filter(|(_, part)| *part > 0);
    let told: Vec<_> = told
        .map(|(name, part)| {
            let percent = (part.saturating_mul(100) + all / 2) / all.max(1);
            format!("{name} {percent} %")
        })
        .collect();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_and_without_what_is_nothing() {
        let seconds = [("starting", 0), ("lost", 100), ("useful", 900)];
        assert_eq!(shares(&seconds), "useful 90 %, lost 10 %");
        assert_eq!(shares(&[("useful", 0)]), "");
    }
}
