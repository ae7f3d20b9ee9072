// The dashboard of those who prune a model: one run, how good it is, and what it takes.
package main

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

const (
	// What the operator tells of the run.
	ofRun = `{namespace="$namespace", name="$run"}`
	// What its workers tell: the labels are their pods', as the chart's PodMonitor puts them.
	ofWorkers  = `{namespace="$namespace", darwinlm_io_run="$run"}`
	ofSearch   = `{namespace="$namespace", darwinlm_io_run="$run", darwinlm_io_task="search"}`
	ofDatabase = `{namespace="$namespace", darwinlm_io_run="$run", darwinlm_io_task="build-database"}`
)

// Search workers, and of their trials those that ended so.
func withOutcome(outcome string) string {
	return fmt.Sprintf(`{namespace="$namespace", darwinlm_io_run="$run", darwinlm_io_task="search", outcome="%s"}`, outcome)
}

// The survivor's levels of one kind of module. Series are sorted as text: with three digits each, blocks are in their order.
func levels(module string) string {
	levels := fmt.Sprintf(`max by (block) (darwinlm_run_survivor_level{namespace="$namespace", name="$run", module="%s"})`, module)
	for _, shorter := range []string{".", ".."} {
		levels = fmt.Sprintf(`label_replace(%s, "block", "0$1", "block", "(%s)")`, levels, shorter)
	}
	return levels
}

func run() (dashboard.Dashboard, error) {
	namespace := labelValues("namespace", "Namespace", "label_values(darwinlm_run_info, namespace)")
	name := labelValues("run", "Run", `label_values(darwinlm_run_info{namespace="$namespace"}, name)`)
	return board("DarwinLM / Run", "darwinlm-run", "One run: how good it is, what it takes, and when it will be done.", namespace).
		WithVariable(name).
		WithRow(dashboard.NewRowBuilder("At a glance")).
		WithPanel(word("Stage", "What the run is at.",
			now(`max by (stage) (darwinlm_run_info`+ofRun+`)`, "{{stage}}"))).
		WithPanel(word("Why it does not move", "The reason of Progressing=False: describe the run for its words and the remedy.",
			now(`max by (reason) (darwinlm_run_stalled`+ofRun+`)`, "{{reason}}")).
			NoValue("It moves.")).
		WithPanel(number("Generations done", "Of those asked for.", "percentunit",
			now(`max(darwinlm_run_generation`+ofRun+`) / max(darwinlm_run_generations`+ofRun+`)`, "")).
			Decimals(0)).
		WithPanel(number("Search done in", "At the pace of the last hour; nothing while no generation ends.", "s",
			now(`(max(darwinlm_run_generations`+ofRun+`) - max(darwinlm_run_generation`+ofRun+`)) / (max(deriv(darwinlm_run_generation`+ofRun+`[1h])) > 0)`, "")).
			Decimals(0)).
		WithPanel(number("Validation KL", "Of the survivor to the dense model, in nats; comparable between generations, lower is better.", "none",
			now(`max(darwinlm_run_validation_kl`+ofRun+`)`, "")).
			Decimals(4)).
		WithPanel(number("Parameters", "Of the survivor.", "short",
			now(`max(darwinlm_run_survivor_parameters`+ofRun+`)`, "")).
			Decimals(2)).
		WithRow(dashboard.NewRowBuilder("Search")).
		WithPanel(byGeneration("Validation KL by generation", "Of the survivor to the dense model, in nats, on held-out tokens that nothing is selected on; lower is better. Generations of the shown time.", "Validation KL",
			`max(darwinlm_run_validation_kl`+ofRun+`)`, `max(darwinlm_run_generation`+ofRun+`)`).
			Decimals(4)).
		WithPanel(byGeneration("Validation perplexity by generation", "Of the survivor, on the same tokens; lower is better. Generations of the shown time.", "Perplexity",
			`max(darwinlm_run_survivor_perplexity`+ofRun+`)`, `max(darwinlm_run_generation`+ofRun+`)`).
			Decimals(2)).
		WithPanel(steps("Fitness", "Of the survivor when it was selected last; not comparable between generations.", "none",
			query(`max(darwinlm_run_fitness`+ofRun+`)`, "survivor")).
			Decimals(4)).
		WithPanel(steps("Generations", "In the ledger, and asked for.", "short",
			query(`max(darwinlm_run_generation`+ofRun+`)`, "done"),
			query(`max(darwinlm_run_generations`+ofRun+`)`, "asked for")).
			Min(0)).
		WithPanel(areas("Trials by outcome", "So far, of all workers. Done: in the ledger, with a fitness. Failed: in the ledger, with a loss or fitness that is no number. Repeated: computed once more.", "short",
			query(`max by (outcome) (darwinlm_run_trials`+ofRun+`)`, "{{outcome}}")).
			LineInterpolation(common.LineInterpolationStepAfter)).
		WithPanel(steps("Parameters", "Of the survivor.", "short",
			query(`max(darwinlm_run_survivor_parameters`+ofRun+`)`, "survivor"))).
		WithPanel(heatMap("Survivor: attention", "Level of each block's attention; 0 is dense. Until the run has ended.",
			query(levels("attention"), "{{block}}"))).
		WithPanel(heatMap("Survivor: MLP", "Level of each block's MLP; 0 is dense. Until the run has ended.",
			query(levels("mlp"), "{{block}}"))).
		WithRow(dashboard.NewRowBuilder("Post-training and evaluation")).
		WithPanel(lines("Post-training loss", "Of the newest step, in nats per token.", "none",
			query(`max(darwinlm_run_training_loss`+ofRun+`)`, "loss"))).
		WithPanel(steps("Post-training tokens", "Trained on, and asked for.", "short",
			query(`max(darwinlm_run_post_training_tokens`+ofRun+`)`, "trained on"),
			query(`max(darwinlm_run_post_training_tokens_asked`+ofRun+`)`, "asked for")).
			Min(0)).
		WithPanel(joined("Models side by side", "On the validation tokens: the dense model, the uniformly pruned one where the search started, the survivor, and the survivor after post-training.",
			map[string]string{
				"model": "Model", "Value #A": "Perplexity", "Value #B": "KL", "Value #C": "Parameters", "Value #D": "Prompt",
				"Value #E": "Token",
			},
			rows(`max by (model) (darwinlm_run_validation_perplexity`+ofRun+`)`),
			rows(`max by (model) (darwinlm_run_evaluated_kl`+ofRun+`)`),
			rows(`max by (model) (darwinlm_run_evaluated_parameters`+ofRun+`)`),
			rows(`max by (model) (darwinlm_run_prompt_seconds`+ofRun+`)`),
			rows(`max by (model) (darwinlm_run_token_seconds`+ofRun+`)`)).
			OverrideByName("Perplexity", column(map[string]any{"decimals": 2})).
			OverrideByName("KL", column(map[string]any{"decimals": 4})).
			OverrideByName("Parameters", column(map[string]any{"unit": "short", "decimals": 2})).
			OverrideByName("Prompt", column(map[string]any{"unit": "s"})).
			OverrideByName("Token", column(map[string]any{"unit": "s"})).
			Span(8)).
		WithRow(dashboard.NewRowBuilder("GPU seconds, budget and forecast")).
		WithPanel(areas("GPUs held, by cause", "GPU seconds a second. Useful: computing what is part of the result. Starting: image, process, model. Waiting: for others or the store. Lost: computing what was thrown away. Unattributed: what nobody speaks of.", "short",
			query(`clamp_min(max by (cause) (deriv(darwinlm_run_gpu_seconds`+ofRun+`[10m])), 0)`, "{{cause}}")).
			Span(5)).
		WithPanel(areas("GPU hours, by cause", "So far.", "h",
			query(`max by (cause) (darwinlm_run_gpu_seconds`+ofRun+`) / 3600`, "{{cause}}")).
			Span(5)).
		WithPanel(steps("Budget", "What it is held against each time a generation ends; post-training, evaluation and export come on top.", "h",
			query(`max(darwinlm_run_spent_gpu_seconds`+ofRun+`) / 3600`, "spent"),
			query(`max(darwinlm_run_budget_gpu_seconds`+ofRun+`) / 3600`, "budget")).
			Min(0).
			Span(5)).
		WithPanel(number("Budget spent", "Nothing where the run has no budget.", "percentunit",
			now(`max(darwinlm_run_spent_gpu_seconds`+ofRun+`) / max(darwinlm_run_budget_gpu_seconds`+ofRun+`)`, "")).
			Decimals(0).
			Height(8).
			ColorMode(common.BigValueColorModeValue).
			Thresholds(above(map[string]float64{"orange": 0.9, "red": 1})).
			Span(3)).
		WithPanel(number("Budget spent in", "At the pace of the last quarter of an hour; nothing while nothing is spent.", "s",
			now(`clamp_min(max(darwinlm_run_budget_gpu_seconds`+ofRun+`) - max(darwinlm_run_spent_gpu_seconds`+ofRun+`), 0) / (sum(clamp_min(max by (cause) (deriv(darwinlm_run_gpu_seconds`+ofRun+`[15m])), 0)) > 0)`, "")).
			Decimals(0).
			Height(8).
			Span(3)).
		WithPanel(number("Of the forecast", "GPU seconds so far, of those that the plan with --apply expected of the whole run; nothing where no plan was made.", "percentunit",
			now(`sum(max by (cause) (darwinlm_run_gpu_seconds`+ofRun+`)) / max(darwinlm_run_forecast_gpu_seconds`+ofRun+`)`, "")).
			Decimals(0).
			Height(8).
			ColorMode(common.BigValueColorModeValue).
			Thresholds(above(map[string]float64{"orange": 1.25, "red": 2})).
			Span(3)).
		WithRow(dashboard.NewRowBuilder("Work done")).
		WithPanel(lines("Modules of the level database", "That each worker has written since it started.", "short",
			query(`sum by (pod) (darwinlm_worker_modules_total`+ofDatabase+`)`, "{{pod}}")).
			Min(0).
			Span(6)).
		WithPanel(areas("Trials by selection step and outcome", "Trials a minute, of all workers. The first step is 0. Done: with a fitness. Failed: with a loss or fitness that is no number. Exception: tried again, three times in all. Stopped: the worker was told to leave.", "short",
			query(`sum by (step, outcome) (rate(darwinlm_worker_trials_total`+ofSearch+`[$__rate_interval])) * 60 > 0`, "step {{step}}: {{outcome}}")).
			Span(6)).
		WithPanel(lines("Duration of a trial", "Training and scoring of one candidate at one selection step: half of the trials are faster than the first line, one in twenty is slower than the second.", "s",
			query(`histogram_quantile(0.5, sum by (le) (rate(darwinlm_worker_trial_seconds_bucket`+ofSearch+`[$__rate_interval])))`, "50 %"),
			query(`histogram_quantile(0.95, sum by (le) (rate(darwinlm_worker_trial_seconds_bucket`+ofSearch+`[$__rate_interval])))`, "95 %")).
			Min(0).
			Span(6)).
		WithPanel(lines("Trials done by each worker", "Since it started.", "short",
			query(`sum by (pod) (darwinlm_worker_trials_total`+withOutcome("done")+`)`, "{{pod}}")).
			Min(0).
			Span(6)).
		WithRow(dashboard.NewRowBuilder("Speed")).
		WithPanel(lines("Tokens trained on", "A second, by worker, in trials and in post-training.", "short",
			query(`sum by (pod) (rate(darwinlm_worker_tokens_trained_total`+ofWorkers+`[$__rate_interval]))`, "{{pod}}")).
			Min(0).
			Span(6)).
		WithPanel(lines("Tokens scored", "A second, by worker, in trials, on the validation slice and in the evaluation.", "short",
			query(`sum by (pod) (rate(darwinlm_worker_tokens_scored_total`+ofWorkers+`[$__rate_interval]))`, "{{pod}}")).
			Min(0).
			Span(6)).
		WithPanel(lines("Model FLOP/s", "Floating-point operations of forward and backward passes a second, by worker: 2 for each weight of the candidate and token scored, 6 for one trained on, and what attention adds.", "flops",
			query(`sum by (pod) (rate(darwinlm_worker_model_flops_total`+ofWorkers+`[$__rate_interval]))`, "{{pod}}")).
			Min(0).
			Span(6)).
		WithPanel(lines("Model FLOPs utilization (MFU)", "These operations as a part of what the data sheet of the worker's device gives for its type of numbers, dense.", "percentunit",
			query(`sum by (pod) (rate(darwinlm_worker_model_flops_total`+ofWorkers+`[$__rate_interval])) / max by (pod) (darwinlm_worker_peak_flops_per_second`+ofWorkers+`)`, "{{pod}}")).
			NoValue("The peak of the device is not known.").
			Min(0).
			Span(6)).
		WithRow(dashboard.NewRowBuilder("Workers")).
		WithPanel(areas("Workers", "Pods that tell of themselves, by task.", "short",
			query(`count by (darwinlm_io_task) (darwinlm_worker_generation`+ofWorkers+`)`, "{{darwinlm_io_task}}")).
			LineInterpolation(common.LineInterpolationStepAfter)).
		WithPanel(lines("Device memory", "Of tensors, as CUDA's allocator counts it: now, and the most since the worker started.", "bytes",
			query(`max by (pod) (darwinlm_worker_device_memory_bytes`+ofWorkers+`)`, "{{pod}}"),
			query(`max by (pod) (darwinlm_worker_device_memory_peak_bytes`+ofWorkers+`)`, "{{pod}} at most")).
			NoValue("On a CPU tensors are in the memory of the process.").
			Min(0)).
		WithPanel(lines("Memory of the process", "As the kernel counts it, mapped files included: now, and the most since the worker started.", "bytes",
			query(`max by (pod) (darwinlm_worker_resident_memory_bytes`+ofWorkers+`)`, "{{pod}}"),
			query(`max by (pod) (darwinlm_worker_resident_memory_peak_bytes`+ofWorkers+`)`, "{{pod}} at most")).
			Min(0)).
		WithPanel(lines("Claims", "A minute, of all workers. First: of what nobody had claimed. Again: of what another attempt had not finished. Lost: taken over by another worker.", "short",
			query(`sum by (attempt) (rate(darwinlm_worker_claims_total`+ofWorkers+`[$__rate_interval])) * 60`, "{{attempt}}"),
			query(`sum(rate(darwinlm_worker_claims_lost_total`+ofWorkers+`[$__rate_interval])) * 60`, "lost")).
			Min(0)).
		WithPanel(lines("Errors of the store", "A minute, of all workers: answers that were errors, after what the store's client tries again by itself, and writes that were done again.", "short",
			query(`sum(rate(darwinlm_worker_store_errors_total`+ofWorkers+`[$__rate_interval])) * 60`, "errors"),
			query(`sum(rate(darwinlm_worker_store_retries_total`+ofWorkers+`[$__rate_interval])) * 60`, "done again")).
			Min(0)).
		WithPanel(lines("Generation that each worker sees", "One that stays behind does not get at the store.", "short",
			query(`max by (pod) (darwinlm_worker_generation`+ofSearch+`)`, "{{pod}}")).
			Min(0)).
		Build()
}
