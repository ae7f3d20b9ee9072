// The dashboard of those who run the operator: all runs, what they take, and how the operator is.
package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// `max by` leaves out which operator told it: after a change of leader two do for a while.
const runsByStage = `max by (namespace, name, stage) (darwinlm_run_info{namespace=~"$namespace"})`

func fleet() (dashboard.Dashboard, error) {
	namespace := labelValues("namespace", "Namespace", "label_values(darwinlm_run_info, namespace)").
		Multi(true).
		IncludeAll(true).
		AllValue(".*").
		Current(dashboard.VariableOption{
			Text:  dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
			Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
		})
	toRun := []map[string]any{{
		"title": "The run",
		"url":   "/d/darwinlm-run?${__url_time_range}&var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}&var-run=${__data.fields.Run}",
	}}
	return board("DarwinLM / Fleet", "darwinlm-fleet", "All runs, what they take, and how the operator is.", namespace).
		WithRow(dashboard.NewRowBuilder("Runs")).
		WithPanel(number("Runs at work", "Runs that are neither waiting nor at their end.", "short",
			now(`count(max by (namespace, name) (darwinlm_run_info{namespace=~"$namespace", stage!~"Pending|Queued|Suspended|Succeeded|Failed"})) or vector(0)`, ""))).
		WithPanel(number("Runs in a queue", "Runs that wait for their queue to admit them.", "short",
			now(`count(max by (namespace, name) (darwinlm_run_info{namespace=~"$namespace", stage="Queued"})) or vector(0)`, ""))).
		WithPanel(number("Runs that do not move", "Runs whose Progressing is False, those in a queue left out.", "short",
			now(`count(max by (namespace, name) (darwinlm_run_stalled{namespace=~"$namespace", reason!="Queued"})) or vector(0)`, "")).
			ColorMode(common.BigValueColorModeValue).
			Thresholds(above(map[string]float64{"orange": 1}))).
		WithPanel(number("Runs that failed", "Runs that ended without a result and are still there.", "short",
			now(`count(max by (namespace, name) (darwinlm_run_info{namespace=~"$namespace", stage="Failed"})) or vector(0)`, "")).
			ColorMode(common.BigValueColorModeValue).
			Thresholds(above(map[string]float64{"red": 1}))).
		WithPanel(number("GPU hours", "What the runs that are there have taken so far.", "h",
			now(`sum(max by (namespace, name, cause) (darwinlm_run_gpu_seconds{namespace=~"$namespace"})) / 3600`, "")).
			Decimals(1)).
		WithPanel(number("Useful", "The part of these GPU hours that went into a result.", "percentunit",
			now(`sum(max by (namespace, name) (darwinlm_run_gpu_seconds{namespace=~"$namespace", cause="useful"})) / (sum(max by (namespace, name, cause) (darwinlm_run_gpu_seconds{namespace=~"$namespace"})) > 0)`, "")).
			Decimals(0)).
		WithPanel(areas("Runs by stage", "Every run that is there.", "short",
			query(`count by (stage) (`+runsByStage+`)`, "{{stage}}")).
			LineInterpolation(common.LineInterpolationStepAfter)).
		WithPanel(joined("Why runs do not move", "The reason of Progressing=False: describe the run for its words and the remedy.",
			map[string]string{"namespace": "Namespace", "name": "Run", "reason": "Reason", "Value": "Value"},
			rows(`max by (namespace, name, reason) (darwinlm_run_stalled{namespace=~"$namespace"})`)).
			WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
				"excludeByName": map[string]any{"Value": true},
				"indexByName":   map[string]any{"Namespace": 0, "Run": 1, "Reason": 2},
			}}).
			NoValue("Every run moves.").
			OverrideByName("Run", column(map[string]any{"links": toRun})).
			Span(8)).
		WithPanel(joined("Every run", "Follow a name to its own dashboard.",
			map[string]string{
				"namespace": "Namespace", "name": "Run", "stage": "Stage", "Value #B": "Generation", "Value #C": "of",
				"Value #D": "Validation KL", "Value #E": "GPU hours",
			},
			rows(runsByStage),
			rows(`max by (namespace, name) (darwinlm_run_generation{namespace=~"$namespace"})`),
			rows(`max by (namespace, name) (darwinlm_run_generations{namespace=~"$namespace"})`),
			rows(`max by (namespace, name) (darwinlm_run_validation_kl{namespace=~"$namespace"})`),
			rows(`sum by (namespace, name) (max by (namespace, name, cause) (darwinlm_run_gpu_seconds{namespace=~"$namespace"})) / 3600`)).
			WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
				"excludeByName": map[string]any{"Value #A": true},
				"indexByName": map[string]any{
					"Namespace": 0, "Run": 1, "Stage": 2, "Generation": 3, "of": 4, "Validation KL": 5, "GPU hours": 6,
				},
			}}).
			OverrideByName("Run", column(map[string]any{"links": toRun})).
			OverrideByName("Validation KL", column(map[string]any{"decimals": 4})).
			OverrideByName("GPU hours", column(map[string]any{"decimals": 1})).
			Span(8)).
		WithRow(dashboard.NewRowBuilder("GPU seconds")).
		WithPanel(areas("GPUs held, by cause", "GPU seconds a second. Useful: computing what is part of the result. Starting: image, process, model. Waiting: for others or the store. Lost: computing what was thrown away. Unattributed: what nobody speaks of.", "short",
			query(`sum by (cause) (clamp_min(max by (namespace, name, cause) (deriv(darwinlm_run_gpu_seconds{namespace=~"$namespace"}[10m])), 0))`, "{{cause}}"))).
		WithPanel(areas("GPUs held, by namespace", "GPU seconds a second.", "short",
			query(`sum by (namespace) (clamp_min(max by (namespace, name, cause) (deriv(darwinlm_run_gpu_seconds{namespace=~"$namespace"}[10m])), 0))`, "{{namespace}}"))).
		WithPanel(areas("GPU hours, by cause", "What the runs that are there have taken so far; those of a run go with it.", "h",
			query(`sum by (cause) (max by (namespace, name, cause) (darwinlm_run_gpu_seconds{namespace=~"$namespace"})) / 3600`, "{{cause}}"))).
		WithRow(dashboard.NewRowBuilder("Operator")).
		WithPanel(timeline("Leader", "Which operator may write. Of each release, one does.",
			query(`max by (namespace, pod) (darwinlm_leader)`, "{{namespace}}/{{pod}}")).
			Mappings(words(map[string][2]string{"0": {"stands by", "text"}, "1": {"leads", "green"}})).
			MergeValues(true)).
		WithPanel(joined("Versions", "Of each operator, and how many fields the installed definition of runs lacks.",
			map[string]string{"namespace": "Namespace", "pod": "Operator", "version": "Version", "Value #B": "Fields that are missing"},
			rows(`max by (namespace, pod, version) (darwinlm_build_info)`),
			rows(`max by (namespace, pod) (darwinlm_definition_missing_fields)`)).
			WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
				"excludeByName": map[string]any{"Value #A": true},
			}}).
			Span(8)).
		WithPanel(steps("Changes of leader", "How often the lease has changed hands so far.", "short",
			query(`max by (namespace) (darwinlm_lease_transitions)`, "{{namespace}}"))).
		WithPanel(lines("Looks at runs", "Looks a second, by result.", "ops",
			query(`sum by (result) (rate(darwinlm_reconcile_total[$__rate_interval]))`, "{{result}}")).
			Min(0).
			Span(6)).
		WithPanel(lines("Looks that failed", "Failed looks a second, by kind of error. What is refused is told in the run, and is for its owner.", "ops",
			query(`sum by (kind) (rate(darwinlm_reconcile_errors_total[$__rate_interval]))`, "{{kind}}")).
			NoValue("None has failed.").
			Min(0).
			Span(6)).
		WithPanel(lines("Duration of a look", "Half of the looks are faster than the first line; one in a hundred is slower than the last.", "s",
			query(`histogram_quantile(0.5, sum by (le) (rate(darwinlm_reconcile_duration_seconds_bucket[$__rate_interval])))`, "50 %"),
			query(`histogram_quantile(0.9, sum by (le) (rate(darwinlm_reconcile_duration_seconds_bucket[$__rate_interval])))`, "90 %"),
			query(`histogram_quantile(0.99, sum by (le) (rate(darwinlm_reconcile_duration_seconds_bucket[$__rate_interval])))`, "99 %")).
			Min(0).
			Span(6)).
		WithPanel(lines("Watches that broke", "A second; each was tried again.", "ops",
			query(`sum by (pod) (rate(darwinlm_watch_errors_total[$__rate_interval]))`, "{{pod}}")).
			Min(0).
			Span(6)).
		WithPanel(lines("Queue", "Runs whose look is due and has not begun, and looks going on now: at the value of `concurrency`, others wait for their turn.", "short",
			query(`sum by (pod) (darwinlm_reconcile_waiting)`, "{{pod}} waiting"),
			query(`sum by (pod) (darwinlm_reconcile_active)`, "{{pod}} going on")).
			Min(0)).
		WithPanel(lines("Wait for a look", "For how long a look was due when it began: half of them waited less than the first line, one in a hundred longer than the last.", "s",
			query(`histogram_quantile(0.5, sum by (le) (rate(darwinlm_reconcile_wait_seconds_bucket[$__rate_interval])))`, "50 %"),
			query(`histogram_quantile(0.9, sum by (le) (rate(darwinlm_reconcile_wait_seconds_bucket[$__rate_interval])))`, "90 %"),
			query(`histogram_quantile(0.99, sum by (le) (rate(darwinlm_reconcile_wait_seconds_bucket[$__rate_interval])))`, "99 %")).
			Min(0)).
		WithPanel(lines("Requests to the API server", "Requests a second, by verb and by the code of the answer; `none` where no answer came.", "reqps",
			query(`sum by (verb, code) (rate(darwinlm_api_requests_total[$__rate_interval]))`, "{{verb}} {{code}}")).
			Min(0)).
		Build()
}
