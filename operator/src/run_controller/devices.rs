//! How many devices a worker holds: what each of its seconds counts as.

use std::collections::BTreeMap;

use darwinlm_api::parse_quantity;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The devices among what a worker may use: extended resources that are called after GPUs, as
/// `nvidia.com/gpu`, `amd.com/gpu` or `nvidia.com/mig-1g.10gb`; a resource claim is taken for one. Without
/// any the worker itself counts as one, so that seconds on CPUs are counted, too.
pub(super) fn devices(limits: &BTreeMap<String, Quantity>, claims: usize) -> u32 {
    let amounts = limits.iter().filter(|(name, _)| is_device(name));
    let counts = amounts.filter_map(|(_, amount)| parse_quantity(&amount.0).ok());
    let count = counts.fold(claims as u64, u64::saturating_add).max(1);
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether a resource is a device. An extended resource always has a domain.
pub(super) fn is_device(name: &str) -> bool {
    name.contains('/') && (name.contains("gpu") || name.contains("mig-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_of_every_maker_count_and_nothing_else_does() {
        let of = |limits: &[(&str, &str)]| {
            let amount = |amount: &str| Quantity(amount.to_owned());
            let limits = limits
                .iter()
                .map(|(name, n)| ((*name).to_owned(), amount(n)));
            devices(&limits.collect(), 0)
        };
        assert_eq!(of(&[("cpu", "8"), ("memory", "1Gi")]), 1);
        assert_eq!(of(&[("nvidia.com/gpu", "4"), ("rdma/hca", "2")]), 4);
        assert_eq!(of(&[("nvidia.com/mig-1g.10gb", "2")]), 2);
        assert_eq!(of(&[("gpu.intel.com/i915", "1"), ("amd.com/gpu", "1")]), 2);
        assert_eq!(of(&[("nvidia.com/gpu", "0")]), 1);
        assert_eq!(devices(&BTreeMap::new(), 2), 2);
    }
}
