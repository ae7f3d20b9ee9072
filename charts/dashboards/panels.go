// What the panels of both dashboards look like, and what they ask.
package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/statushistory"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/trend"
)

// The Prometheus that the reader chooses.
func datasource() common.DataSourceRef {
	return common.DataSourceRef{Type: new("prometheus"), Uid: new("${datasource}")}
}

// A dashboard with the variables of both: the data source, and the namespaces that have runs.
func board(title, uid, description string, namespace *dashboard.QueryVariableBuilder) *dashboard.DashboardBuilder {
	return dashboard.NewDashboardBuilder(title).
		Uid(uid).
		Description(description).
		Tags([]string{"darwinlm"}).
		Readonly().
		Time("now-6h", "now").
		Refresh("30s").
		Timezone("browser").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("DarwinLM").
			Type(dashboard.DashboardLinkTypeDashboards).
			Tags([]string{"darwinlm"}).
			KeepTime(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").
			Label("Data source").
			Type("prometheus")).
		WithVariable(namespace)
}

// A variable whose values are those of a label.
func labelValues(name, label, values string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).
		Label(label).
		Datasource(datasource()).
		Query(dashboard.StringOrMap{String: new(values)}).
		Definition(values).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortAlphabeticalAsc)
}

// A query over time, and the legend of its series.
func query(expr, legend string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(datasource()).Expr(expr).LegendFormat(legend).Range()
}

// A query of how things are at the end of the shown time.
func now(expr, legend string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(datasource()).Expr(expr).LegendFormat(legend).Instant()
}

// Such a query as rows of a table.
func rows(expr string) *prometheus.DataqueryBuilder {
	return now(expr, "").Format(prometheus.PromQueryFormatTable)
}

// The queries with the names A, B, C …, by which transformations know them.
func named(queries []*prometheus.DataqueryBuilder) []cog.Builder[variants.Dataquery] {
	targets := make([]cog.Builder[variants.Dataquery], len(queries))
	for i, query := range queries {
		targets[i] = query.RefId(string(rune('A' + i)))
	}
	return targets
}

func legend() *common.VizLegendOptionsBuilder {
	return common.NewVizLegendOptionsBuilder().
		DisplayMode(common.LegendDisplayModeList).
		Placement(common.LegendPlacementBottom).
		ShowLegend(true)
}

func tooltip() *common.VizTooltipOptionsBuilder {
	return common.NewVizTooltipOptionsBuilder().
		Mode(common.TooltipDisplayModeMulti).
		Sort(common.SortOrderDescending)
}

// Lines over time.
func lines(title, description, unit string, queries ...*prometheus.DataqueryBuilder) *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(datasource()).
		Targets(named(queries)).
		Unit(unit).
		Height(8).
		Span(8).
		LineWidth(1).
		ShowPoints(common.VisibilityModeNever).
		Legend(legend()).
		Tooltip(tooltip())
}

// Lines that stand on one another, of parts that make a whole.
func areas(title, description, unit string, queries ...*prometheus.DataqueryBuilder) *timeseries.PanelBuilder {
	return lines(title, description, unit, queries...).
		Min(0).
		FillOpacity(40).
		Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A"))
}

// Lines of what changes in steps: each value holds until the next.
func steps(title, description, unit string, queries ...*prometheus.DataqueryBuilder) *timeseries.PanelBuilder {
	return lines(title, description, unit, queries...).
		LineInterpolation(common.LineInterpolationStepAfter)
}

// One number, as it is at the end of the shown time.
func number(title, description, unit string, query *prometheus.DataqueryBuilder) *stat.PanelBuilder {
	return stat.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(datasource()).
		Targets(named([]*prometheus.DataqueryBuilder{query})).
		Unit(unit).
		Height(4).
		Span(4).
		NoValue("–").
		Orientation(common.VizOrientationAuto).
		ColorMode(common.BigValueColorModeNone).
		GraphMode(common.BigValueGraphModeNone).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
}

// A word, which is the legend of the one series that there is.
func word(title, description string, query *prometheus.DataqueryBuilder) *stat.PanelBuilder {
	return number(title, description, "none", query).TextMode(common.BigValueTextModeName)
}

// A table of what several queries say of the same things, joined by their labels.
func joined(title, description string, columns map[string]string, queries ...*prometheus.DataqueryBuilder) *table.PanelBuilder {
	return table.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(datasource()).
		Targets(named(queries)).
		Height(8).
		// The types ask for a list, though nothing is to be summed up.
		Footer(common.NewTableFooterOptionsBuilder().Reducer([]string{})).
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]any{"Time": true},
			"renameByName":  columns,
		}})
}

// A figure of the survivor by generation: what was told at the same time is joined, and the last of each generation counts.
func byGeneration(title, description, name, figure, generation string) *trend.PanelBuilder {
	overTime := func(expr string) *prometheus.DataqueryBuilder {
		return query(expr, "").Format(prometheus.PromQueryFormatTable)
	}
	grouped := map[string]any{
		"Generation": map[string]any{"operation": "groupby", "aggregations": []string{}},
		name:         map[string]any{"operation": "aggregate", "aggregations": []string{"lastNotNull"}},
	}
	return trend.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(datasource()).
		Targets(named([]*prometheus.DataqueryBuilder{overTime(generation), overTime(figure)})).
		Height(8).
		Span(8).
		XField("Generation").
		WithTransformation(dashboard.DataTransformerConfig{Id: "joinByField", Options: map[string]any{"byField": "Time", "mode": "inner"}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]any{"Time": true},
			"renameByName":  map[string]string{"Value #A": "Generation", "Value #B": name},
		}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "groupBy", Options: map[string]any{"fields": grouped}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"renameByName": map[string]string{name + " (lastNotNull)": name},
		}}).
		LineWidth(1).
		PointSize(4).
		ShowPoints(common.VisibilityModeAlways).
		OverrideByName("Generation", column(map[string]any{"decimals": 0})).
		Legend(legend().ShowLegend(false)).
		Tooltip(tooltip())
}

// Who or what is in which state at which time.
func timeline(title, description string, query *prometheus.DataqueryBuilder) *statetimeline.PanelBuilder {
	return statetimeline.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(datasource()).
		Targets(named([]*prometheus.DataqueryBuilder{query})).
		Height(8).
		Span(8).
		ShowValue(common.VisibilityModeNever).
		Legend(legend()).
		Tooltip(tooltip())
}

// A heat map: a row a series, a column a time, a colour a value.
func heatMap(title, description string, query *prometheus.DataqueryBuilder) *statushistory.PanelBuilder {
	return statushistory.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(datasource()).
		Targets(named([]*prometheus.DataqueryBuilder{query})).
		// It draws no more columns than fit.
		MaxDataPoints(60).
		Height(14).
		Span(12).
		Min(0).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdContinuousBlYlRd)).
		ShowValue(common.VisibilityModeNever).
		RowHeight(0.95).
		Legend(legend().ShowLegend(false)).
		Tooltip(tooltip())
}

// Colours of a value: green, and another from each of these on.
func above(from map[string]float64) *dashboard.ThresholdsConfigBuilder {
	steps := []dashboard.Threshold{{Value: nil, Color: "green"}}
	for _, color := range []string{"orange", "red"} {
		if value, there := from[color]; there {
			steps = append(steps, dashboard.Threshold{Value: &value, Color: color})
		}
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}

// Properties of one column of a table.
func column(properties map[string]any) []dashboard.DynamicConfigValue {
	var values []dashboard.DynamicConfigValue
	for _, id := range []string{"unit", "decimals", "links"} {
		if value, there := properties[id]; there {
			values = append(values, dashboard.DynamicConfigValue{Id: id, Value: value})
		}
	}
	return values
}

// Words and colours for values.
func words(of map[string][2]string) []dashboard.ValueMapping {
	options := map[string]dashboard.ValueMappingResult{}
	for value, said := range of {
		options[value] = dashboard.ValueMappingResult{Text: new(said[0]), Color: new(said[1])}
	}
	return []dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: "value", Options: options}}}
}
