//! The gauges of all runs: their names, their labels and what they mean.

use prometheus::{GaugeVec, Opts, Registry, core::Collector, proto::MetricFamily};

use crate::metrics::Described;

/// Declares each gauge once: its field, its name, its labels beside `namespace` and `name`, and
/// what it means.
macro_rules! gauges {
    ($($field:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        /// One gauge each, with a series per run.
        pub(super) struct Gauges {
            $(pub(super) $field: GaugeVec,)+
        }

        /// Every name, in the order of the declaration.
        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$($name),+];

        impl Gauges {
            pub(super) fn new() -> Self {
                Self {
                    $($field: GaugeVec::new(
                        Opts::new($name, $help),
                        &["namespace", "name", $($label),*],
                    )
                    .expect("a name and labels"),)+
                }
            }

            /// What each is called and means.
            pub(super) fn described(&self) -> Vec<Described> {
                let Self { $($field),+ } = self;
                let gauges: &[&dyn Collector] = &[$($field),+];
                gauges.iter().flat_map(|gauge| Described::of(*gauge)).collect()
            }

            /// Sorted, and without the families that have no series, which the text format refuses.
            pub(super) fn collect(self) -> Vec<MetricFamily> {
                let Self { $($field),+ } = self;
                let registry = Registry::new();
                for gauge in [$($field),+] {
                    registry
                        .register(Box::new(gauge))
                        .expect("each series has a name of its own");
                }
                registry.gather()
            }
        }
    };
}

gauges! {
    info "darwinlm_run_info" ["stage"] "1, labelled with the run's stage.";
    condition "darwinlm_run_condition" ["type"]
        "1 where the condition is True, 0 where it is False or Unknown.";
    stalled "darwinlm_run_stalled" ["reason"]
        "1 while the run does not move, labelled with the reason of Progressing=False.";
    generation "darwinlm_run_generation" [] "Generations in the ledger.";
    generations "darwinlm_run_generations" [] "Generations asked for.";
    fitness "darwinlm_run_fitness" []
        "Fitness of the survivor when it was selected last; lower is better.";
    validation_kl "darwinlm_run_validation_kl" []
        "KL of the survivor to the dense model on the validation tokens, in nats.";
    survivor_perplexity "darwinlm_run_survivor_perplexity" []
        "Perplexity of the survivor on the validation tokens.";
    parameters "darwinlm_run_survivor_parameters" [] "Parameters of the survivor.";
    level "darwinlm_run_survivor_level" ["block", "module"]
        "Level of the survivor's module, 0 is dense; of attention and mlp, until the run has ended.";
    trials "darwinlm_run_trials" ["outcome"] "Trials so far, by outcome: done, failed or repeated.";
    gpu_seconds "darwinlm_run_gpu_seconds" ["cause"]
        "GPU seconds so far, by cause: useful, starting, waiting, lost or unattributed.";
    budget "darwinlm_run_budget_gpu_seconds" [] "GPU seconds that the run may spend, if limited.";
    spent "darwinlm_run_spent_gpu_seconds" []
        "GPU seconds that the budget is held against, when the last generation ended.";
    forecast "darwinlm_run_forecast_gpu_seconds" []
        "GPU seconds that the run is expected to take, where `darwinlm plan` has said so.";
    forecast_error "darwinlm_run_forecast_error_ratio" []
        "Once the run has succeeded: GPU seconds taken over those forecast, less 1.";
    training_tokens "darwinlm_run_post_training_tokens" []
        "Tokens that post-training has trained on.";
    training_tokens_asked "darwinlm_run_post_training_tokens_asked" []
        "Tokens that post-training is to train on.";
    training_loss "darwinlm_run_training_loss" []
        "Loss of the newest step of post-training, in nats per token.";
    perplexity "darwinlm_run_validation_perplexity" ["model"]
        "Perplexity on the validation tokens, by model: dense, uniform, pruned or trained.";
    evaluated_kl "darwinlm_run_evaluated_kl" ["model"]
        "KL to the dense model on the validation tokens, in nats, by model.";
    evaluated_parameters "darwinlm_run_evaluated_parameters" ["model"]
        "Parameters of what was evaluated, by model.";
    prompt_seconds "darwinlm_run_prompt_seconds" ["model"]
        "Seconds that the prompt takes, by model: dense or pruned.";
    token_seconds "darwinlm_run_token_seconds" ["model"]
        "Seconds that each token after the prompt takes, by model: dense or pruned.";
}
