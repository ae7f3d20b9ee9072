//! Cutting one text into disjoint slices, each of which looks like all of it.

use darwinlm_search::{Purpose, Stream};

use super::{Sequences, TokensError};

/// A slice that is wanted of a common source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceRequest {
    /// The word for it in messages.
    pub name: &'static str,
    /// Its size; rounded up to whole sequences.
    pub tokens: u64,
}

impl SliceRequest {
    /// Its tokens in whole sequences.
    pub fn needed(&self, length: u32) -> u64 {
        self.tokens.next_multiple_of(u64::from(length))
    }
}

/// Deals the sequences of `whole` out to slices, in an order drawn once for its number of sequences.
///
/// Neighbouring pieces would not do: documents are long, so a slice would be a piece of one of them,
/// and what helps on it need not help on the next.
pub fn cut(whole: &Sequences, requests: &[SliceRequest]) -> Result<Vec<Sequences>, TokensError> {
    let length = u64::from(whole.length());
    let needed = |slice: &SliceRequest| slice.needed(whole.length());
    let pool = whole.pool();
    let asked: u64 = requests.iter().map(needed).sum();
    if asked > pool.tokens() {
        let slices: Vec<String> = requests
            .iter()
            .map(|slice| format!("{} {}", slice.name, needed(slice)))
            .collect();
        return Err(TokensError::TooLittle {
            found: pool.tokens(),
            needed: asked,
            slices: slices.join(", "),
        });
    }
    let drawn = pool.draw(asked, &mut Stream::new(0, 0, 0, Purpose::Slices));
    let mut rest = drawn.sequences.as_slice();
    let slices = requests.iter().map(|slice| {
        let (own, others) = rest.split_at((needed(slice) / length) as usize);
        rest = others;
        whole.select(own)
    });
    Ok(slices.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn request(name: &'static str, tokens: u64) -> SliceRequest {
        SliceRequest { name, tokens }
    }

    fn numbered(sequences: i32, length: u32) -> Sequences {
        let stream: Vec<i32> = (0..sequences)
            .flat_map(|s| vec![s; length as usize])
            .collect();
        Sequences::pack(&stream, length)
    }

    fn members(slice: &Sequences) -> Vec<i32> {
        (0..slice.count()).map(|s| slice.sequence(s)[0]).collect()
    }

    #[test]
    fn slices_share_no_sequence_and_have_the_size_asked_for() {
        let requests = [request("calibration", 80), request("training", 81)];
        let slices = cut(&numbered(50, 4), &requests).unwrap();
        assert_eq!((slices[0].count(), slices[1].count()), (20, 21));
        let all: BTreeSet<i32> = slices.iter().flat_map(members).collect();
        assert_eq!(all.len(), 41);
    }

    #[test]
    fn a_slice_is_drawn_from_the_whole_of_its_source() {
        let slices = cut(&numbered(1000, 4), &[request("fitness", 400)]).unwrap();
        // Of 100 sequences a tenth is expected in each tenth of the source; six deviations are 18.
        for tenth in 0..10 {
            let range = tenth * 100..(tenth + 1) * 100;
            let found = members(&slices[0])
                .into_iter()
                .filter(|s| range.contains(s))
                .count();
            assert!((1..28).contains(&found), "{found} of tenth {tenth}");
        }
    }

    #[test]
    fn the_same_source_is_cut_the_same_way_every_time() {
        let requests = [request("calibration", 8), request("fitness", 8)];
        let slices = cut(&numbered(10, 4), &requests).unwrap();
        assert_eq!(slices, cut(&numbered(10, 4), &requests).unwrap());
    }

    #[test]
    fn too_little_text_is_refused_with_every_need_named() {
        let requests = [request("calibration", 8), request("fitness", 9)];
        let message = cut(&numbered(4, 4), &requests).unwrap_err().to_string();
        assert_eq!(
            message,
            "found 16 tokens; the slices need 20: calibration 8, fitness 12"
        );
    }
}
