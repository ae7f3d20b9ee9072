// Writes the chart's dashboards as JSON, built with Grafana's Foundation SDK: go run . FOLDER
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// The dashboards by the name of their file.
var dashboards = map[string]func() (dashboard.Dashboard, error){
	"fleet.json": fleet,
	"run.json":   run,
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run . FOLDER")
		os.Exit(2)
	}
	for file, build := range dashboards {
		text, err := encode(build)
		if err == nil {
			err = os.WriteFile(filepath.Join(os.Args[1], file), text, 0o644)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			os.Exit(1)
		}
	}
}

// The same text for the same dashboard: fields in the order of their types, keys of maps sorted.
func encode(build func() (dashboard.Dashboard, error)) ([]byte, error) {
	built, err := build()
	if err != nil {
		return nil, err
	}
	for i, panel := range built.Panels {
		id := uint32(i + 1)
		if panel.RowPanel != nil {
			panel.RowPanel.Id = id
		} else {
			panel.Panel.Id = &id
		}
	}
	text, err := json.MarshalIndent(built, "", "  ")
	return append(text, '\n'), err
}
