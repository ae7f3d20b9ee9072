//! Cutting one stream of tokens into disjoint slices.

use super::{Sequences, TokensError};

/// A slice that is wanted of a common source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceRequest {
    /// The word for it in messages.
    pub name: &'static str,
    /// Its size; rounded up to whole sequences.
    pub tokens: u64,
    /// Tokens per sequence.
    pub sequence_length: u32,
}

impl SliceRequest {
    fn needed(&self) -> u64 {
        self.tokens
            .next_multiple_of(u64::from(self.sequence_length))
    }
}

/// Cuts neighbouring slices off the start of `stream`, in the order they are asked for.
pub fn cut(stream: &[i32], requests: &[SliceRequest]) -> Result<Vec<Sequences>, TokensError> {
    let needed: u64 = requests.iter().map(SliceRequest::needed).sum();
    let found = stream.len() as u64;
    if needed > found {
        let slices: Vec<String> = requests
            .iter()
            .map(|slice| format!("{} {}", slice.name, slice.needed()))
            .collect();
        return Err(TokensError::TooLittle {
            found,
            needed,
            slices: slices.join(", "),
        });
    }
    let mut rest = stream;
    let slices = requests.iter().map(|slice| {
        let (own, others) = rest.split_at(slice.needed() as usize);
        rest = others;
        Sequences::pack(own, slice.sequence_length)
    });
    Ok(slices.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &'static str, tokens: u64, sequence_length: u32) -> SliceRequest {
        SliceRequest {
            name,
            tokens,
            sequence_length,
        }
    }

    #[test]
    fn slices_follow_each_other_without_overlap() {
        let stream: Vec<i32> = (0..30).collect();
        let requests = [request("calibration", 8, 4), request("training", 9, 5)];
        let slices = cut(&stream, &requests).unwrap();
        assert_eq!((slices[0].count(), slices[1].count()), (2, 2));
        assert_eq!(slices[0].sequence(1), [4, 5, 6, 7]);
        assert_eq!(slices[1].sequence(0), [8, 9, 10, 11, 12]);
    }

    #[test]
    fn too_little_text_is_refused_with_every_need_named() {
        let requests = [request("calibration", 8, 4), request("fitness", 9, 5)];
        let message = cut(&[0; 17], &requests).unwrap_err().to_string();
        assert_eq!(
            message,
            "found 17 tokens; the slices need 18: calibration 8, fitness 10"
        );
    }
}
