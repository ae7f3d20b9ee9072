//! How far back each block looks, as `config.json` says it.

use super::family::WindowRule;
use super::fields::Fields;
use super::{ConfigError, Family};

/// The window where `sliding_window` is absent (which is not null).
const ABSENT_WINDOW: i64 = 4096;

/// The first block with a window where `max_window_layers` is absent.
const ABSENT_FIRST_BLOCK: i64 = 28;

const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// For each block the number of positions a query sees, its own included; `None`: all before it.
pub(super) fn windows(
    fields: &Fields<'_>,
    family: Family,
    blocks: usize,
) -> Result<Vec<Option<i64>>, ConfigError> {
    match family.windows() {
        WindowRule::Never => {
            absent(fields, "sliding_window", family)?;
            no_choice_of_blocks(fields, family)?;
            Ok(vec![None; blocks])
        }
        WindowRule::EveryBlock => {
            no_choice_of_blocks(fields, family)?;
            Ok(vec![window(fields)?; blocks])
        }
        WindowRule::ByBlock => {
            let used = fields.optional("use_sliding_window")?.unwrap_or(false);
            let window = if used { window(fields)? } else { None };
            let sliding = sliding_blocks(fields, window.is_some(), blocks)?;
            let of = |slides: bool| window.filter(|_| slides);
            Ok(sliding.into_iter().map(of).collect())
        }
    }
}

fn window(fields: &Fields<'_>) -> Result<Option<i64>, ConfigError> {
    let window = fields.get("sliding_window")?.unwrap_or(Some(ABSENT_WINDOW));
    match window {
        Some(width) if width < 1 => {
            Err(fields.refuse("sliding_window", width, "a positive integer or null"))
        }
        window => Ok(window),
    }
}

fn sliding_blocks(
    fields: &Fields<'_>,
    has_window: bool,
    blocks: usize,
) -> Result<Vec<bool>, ConfigError> {
    let Some(types) = fields.optional::<Vec<String>>("layer_types")? else {
        let first = fields
            .optional("max_window_layers")?
            .unwrap_or(ABSENT_FIRST_BLOCK);
        return Ok((0..blocks as i64)
            .map(|block| has_window && block >= first)
            .collect());
    };
    let refuse =
        |accepted: String| Err(fields.refuse("layer_types", fields.text("layer_types"), accepted));
    if types.len() != blocks {
        return refuse(format!(
            "one entry for each of the {blocks} num_hidden_layers"
        ));
    }
    if types.iter().any(|kind| kind != FULL && kind != SLIDING) {
        return refuse(format!("entries \"{FULL}\" and \"{SLIDING}\""));
    }
    if !has_window && types.iter().any(|kind| kind == SLIDING) {
        return refuse(format!(
            "\"{SLIDING}\" only with use_sliding_window true and a sliding_window"
        ));
    }
    Ok(types.iter().map(|kind| kind == SLIDING).collect())
}

/// Fields of other families, which transformers would not heed in this one.
fn no_choice_of_blocks(fields: &Fields<'_>, family: Family) -> Result<(), ConfigError> {
    absent(fields, "layer_types", family)?;
    match fields.optional("use_sliding_window")? {
        Some(true) => {
            let accepted = format!(
                "false or absent with model_type \"{}\"",
                family.model_type()
            );
            Err(fields.refuse("use_sliding_window", true, accepted))
        }
        Some(false) | None => Ok(()),
    }
}

fn absent(fields: &Fields<'_>, name: &str, family: Family) -> Result<(), ConfigError> {
    match fields.text(name).as_str() {
        "missing" | "null" => Ok(()),
        found => {
            let accepted = format!("null or absent with model_type \"{}\"", family.model_type());
            Err(fields.refuse(name, found, accepted))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(family: Family, config: &Value) -> Result<Vec<Option<i64>>, String> {
        let fields = Fields::new(config.as_object().unwrap());
        windows(&fields, family, 3).map_err(|error| error.to_string())
    }

    #[test]
    fn an_absent_window_of_a_mistral_is_4096_and_null_is_none() {
        let windows = |config| of(Family::Mistral, &config).unwrap();
        assert_eq!(windows(json!({})), [Some(4096); 3]);
        assert_eq!(windows(json!({ "sliding_window": null })), [None; 3]);
        assert_eq!(windows(json!({ "sliding_window": 5 })), [Some(5); 3]);
    }

    #[test]
    fn a_qwen_has_windows_only_where_it_uses_them_and_from_a_block_on() {
        for family in [Family::Qwen2, Family::Qwen3] {
            let windows = |config| of(family, &config).unwrap();
            let unused = json!({ "sliding_window": 5, "max_window_layers": 0 });
            assert_eq!(windows(unused), [None; 3]);
            let used = json!({
                "use_sliding_window": true, "sliding_window": 5, "max_window_layers": 1
            });
            assert_eq!(windows(used), [None, Some(5), Some(5)]);
            let absent = json!({ "use_sliding_window": true, "max_window_layers": 2 });
            assert_eq!(windows(absent), [None, None, Some(4096)]);
            let late = json!({ "use_sliding_window": true, "sliding_window": 5 });
            assert_eq!(windows(late), [None; 3]);
            let null = json!({
                "use_sliding_window": true, "sliding_window": null, "max_window_layers": 0
            });
            assert_eq!(windows(null), [None; 3]);
        }
    }

    #[test]
    fn layer_types_come_before_max_window_layers() {
        let config = json!({
            "use_sliding_window": true, "sliding_window": 5, "max_window_layers": 3,
            "layer_types": [SLIDING, FULL, SLIDING]
        });
        assert_eq!(
            of(Family::Qwen3, &config).unwrap(),
            [Some(5), None, Some(5)]
        );
    }

    #[test]
    fn windows_that_transformers_would_not_heed_are_refused_by_name() {
        let sliding = json!([SLIDING, SLIDING, SLIDING]);
        let cases = [
            (
                Family::Llama,
                json!({ "sliding_window": 5 }),
                "sliding_window is 5; accepted: null",
            ),
            (
                Family::Llama,
                json!({ "layer_types": sliding }),
                "layer_types is [",
            ),
            (
                Family::Llama,
                json!({ "use_sliding_window": true }),
                "use_sliding_window is true",
            ),
            (
                Family::Mistral,
                json!({ "layer_types": sliding }),
                "layer_types is [",
            ),
            (
                Family::Mistral,
                json!({ "sliding_window": 0 }),
                "sliding_window is 0; accepted: a positive",
            ),
            (
                Family::Qwen2,
                json!({ "layer_types": sliding }),
                "only with use_sliding_window true",
            ),
            (
                Family::Qwen2,
                json!({ "layer_types": [FULL] }),
                "each of the 3 num_hidden_layers",
            ),
            (
                Family::Qwen3,
                json!({ "layer_types": [FULL, FULL, "linear_attention"] }),
                "entries \"full_attention\" and \"sliding_attention\"",
            ),
        ];
        for (family, config, expected) in cases {
            let message = of(family, &config).unwrap_err();
            assert!(message.contains(expected), "{family:?}: {message}");
        }
    }
}
