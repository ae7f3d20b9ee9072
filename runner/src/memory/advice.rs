//! What to say when memory ran out: what the work needs, what there is, and what would fit.

use darwinlm_search::SHORTEST_SEQUENCE;

use darwinlm_report::bytes;

use super::Sizes;

/// The memory of some work, as a function of the sizes that a user may change.
pub struct Need {
    /// The sizes as they are.
    pub sizes: Sizes,
    /// The fields that hold the sequence length and the batch.
    pub fields: [&'static str; 2],
    /// The formula.
    pub bytes: Box<dyn Fn(&Sizes) -> u64 + Send>,
}

impl Need {
    /// What the work needs, and the longest sequence or the largest batch that would fit.
    ///
    /// `available` is what the device can hold in all, where that is known.
    pub fn advice(&self, available: Option<u64>) -> String {
        let need = bytes((self.bytes)(&self.sizes));
        let Some(available) = available else {
            return format!("it takes {need}");
        };
        let asked = format!("it takes {need}, the device has {}", bytes(available));
        if (self.bytes)(&self.sizes) <= available {
            return format!("{asked}: others may hold the rest");
        }
        let sizes = self.would_fit(available);
        let named = self.fields.iter().zip(sizes);
        let named = named.filter_map(|(field, size)| Some(format!("{field} {}", size?)));
        match named.collect::<Vec<_>>().as_slice() {
            [] => format!("{asked}; no shorter sequence and no smaller batch would fit"),
            named => format!("{asked}; {} would fit", named.join(" or ")),
        }
    }

    /// The longest sequence and the largest batch that would fit, each with the other as it is.
    fn would_fit(&self, available: u64) -> [Option<u32>; 2] {
        let fits = |sequence_length, batch_sequences| {
            let sizes = Sizes {
                sequence_length,
                batch_sequences,
                ..self.sizes.clone()
            };
            (self.bytes)(&sizes) <= available
        };
        let (length, batch) = (self.sizes.sequence_length, self.sizes.batch_sequences);
        [
            largest(length, SHORTEST_SEQUENCE, |length| fits(length, batch)),
            largest(batch, 1, |batch| fits(length, batch)),
        ]
    }
}

/// The largest number from `least` and below `now` that fits; what fits, fits if it is smaller.
fn largest(now: u32, least: u32, fits: impl Fn(u32) -> bool) -> Option<u32> {
    let (mut good, mut bad) = (least, now);
    if good >= bad || !fits(good) {
        return None;
    }
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        match fits(middle) {
            true => good = middle,
            false => bad = middle,
        }
    }
    Some(good)
}

#[cfg(test)]
mod tests {
    use darwinlm_search::{AttentionUnit, Shape};
    use darwinlm_task::NumericsPlan;

    use super::*;

    fn llama_2_7b() -> Sizes {
        let shape = Shape {
            blocks: 32,
            hidden: 4096,
            vocabulary: 32_000,
            intermediate: 11_008,
            query_heads: 32,
            key_value_heads: 32,
            head_dim: 128,
            tied_embeddings: false,
            query_key_value_bias: false,
            query_key_norm: false,
            attention_unit: AttentionUnit::QueryHead,
        };
        Sizes {
            windows: vec![None; 32],
            shape,
            numerics: NumericsPlan::cuda(2),
            sequence_length: 4096,
            batch_sequences: 4,
        }
    }

    fn need() -> Need {
        Need {
            sizes: llama_2_7b(),
            fields: ["length", "batch"],
            bytes: Box::new(|sizes| sizes.trial(&sizes.dense_blocks())),
        }
    }

    #[test]
    fn what_is_named_fits_and_one_more_does_not() {
        let need = need();
        let whole = (need.bytes)(&need.sizes);
        let available = whole * 9 / 10;
        let [Some(length), Some(batch)] = need.would_fit(available) else {
            panic!("nothing fits into {available} of {whole} bytes");
        };
        let of = |sequence_length, batch_sequences| {
            let sizes = Sizes {
                sequence_length,
                batch_sequences,
                ..need.sizes.clone()
            };
            (need.bytes)(&sizes)
        };
        assert!(of(length, 4) <= available && of(length + 1, 4) > available);
        assert!(of(4096, batch) <= available && of(4096, batch + 1) > available);
        let said = need.advice(Some(available));
        let named = format!("; length {length} or batch {batch} would fit");
        assert!(said.ends_with(&named), "{said}");
    }

    #[test]
    fn a_model_whose_weights_do_not_fit_is_told_so() {
        let said = need().advice(Some(1 << 30));
        assert!(said.contains("the device has 1.0 GiB;"), "{said}");
        assert!(said.ends_with("no smaller batch would fit"), "{said}");
        assert!(need().advice(None).starts_with("it takes "));
    }
}
