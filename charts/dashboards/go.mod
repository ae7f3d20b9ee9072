module charts.invalid/dashboards

go 1.26.0

// Grafana's own types of dashboards and panels; JSON written by hand would replace it.
require github.com/grafana/grafana-foundation-sdk/go v0.0.22
