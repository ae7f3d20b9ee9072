//! Addresses: where a model and its data come from, and where a run keeps its files.

mod segments;
mod source;
mod store_url;

pub use segments::AddressError;
pub use source::Source;
pub use store_url::StoreUrl;

use kube::core::Rule;

/// The schemes that a model may come from, for messages.
pub(crate) const MODEL_SCHEMES: &str =
    "hf://, s3://, gs://, az://, http://, https://, pvc:// or file:///";
/// The schemes that data may come from, for messages.
pub(crate) const DATA_SCHEMES: &str =
    "hf-dataset://, s3://, gs://, az://, http://, https://, pvc:// or file:///";
/// The schemes of stores, for messages.
pub(crate) const STORE_SCHEMES: &str = "s3://, gs://, az://, pvc://, file:/// or memory://";

/// The scheme of a model's source, checked when the run is applied.
pub(crate) fn model_rule() -> Rule {
    Rule::new("self.matches('^(hf|s3|gs|az|https?|pvc)://[^/]|^file:///')")
        .message(format!("a model comes from {MODEL_SCHEMES}").as_str())
}

/// The scheme of a data source, checked when the run is applied.
pub(crate) fn data_rule() -> Rule {
    Rule::new("self.matches('^(hf-dataset|s3|gs|az|https?|pvc)://[^/]|^file:///')")
        .message(format!("data comes from {DATA_SCHEMES}").as_str())
}

/// The scheme of a store, checked when the run is applied.
pub(crate) fn store_rule() -> Rule {
    Rule::new("self.matches('^(s3|gs|az|pvc)://[^/]|^file:///|^memory://')")
        .message(format!("a store is {STORE_SCHEMES}").as_str())
}
