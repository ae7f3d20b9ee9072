package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

const folder = "../darwinlm/dashboards"

// Every kind of panel and query is known by its type, so that the strict reading below goes into each.
func TestMain(m *testing.M) {
	plugins.RegisterDefaultPlugins()
	os.Exit(m.Run())
}

func kept(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What Grafana reads: a field that its types do not have is an error, and so is a value that they forbid.
func strictly(text []byte) (dashboard.Dashboard, error) {
	var strict, read dashboard.Dashboard
	err := strict.UnmarshalJSONStrict(text)
	// No error comes as an empty list of errors, which is not nil, and for which the SDK itself leaves panels out.
	if errs := (cog.BuildErrors)(nil); errors.As(err, &errs) && len(errs) == 0 {
		err = nil
	}
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err == nil {
		err = read.Validate()
	}
	return read, err
}

func read(t *testing.T, text []byte) dashboard.Dashboard {
	t.Helper()
	read, err := strictly(text)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func TestTheChartsDashboardsAreTheGenerated(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) != len(dashboards) {
		t.Errorf("%d files (%v) of %d dashboards", len(files), err, len(dashboards))
	}
	for file, build := range dashboards {
		made, err := encode(build)
		if err != nil {
			t.Fatal(err)
		}
		if string(made) != string(kept(t, file)) {
			t.Errorf("%s is stale: run `make dashboards`", file)
		}
	}
}

func TestGrafanasTypesAcceptThemStrictly(t *testing.T) {
	for file := range dashboards {
		read(t, kept(t, file))
	}
}

func TestAFieldThatGrafanaDoesNotHaveIsRefused(t *testing.T) {
	for _, replaced := range [][2]string{
		{`"schemaVersion"`, `"schemaVersionX": 1, "schemaVersion"`},
		{`"legendFormat"`, `"legendFormatX": "", "legendFormat"`},
		{`"lineWidth"`, `"lineWidthX": "", "lineWidth"`},
	} {
		whole := kept(t, "run.json")
		text := bytes.Replace(whole, []byte(replaced[0]), []byte(replaced[1]), 1)
		if bytes.Equal(text, whole) {
			t.Fatalf("there is no %s", replaced[0])
		}
		if _, err := strictly(text); err == nil {
			t.Errorf("accepted with %s", replaced[1])
		}
	}
}

func TestEveryPanelIsExplainedAndHasItsOwnPlace(t *testing.T) {
	for file := range dashboards {
		panels := 0
		titles := map[string]bool{}
		taken := map[[2]uint32]string{}
		for _, either := range read(t, kept(t, file)).Panels {
			if either.Panel == nil {
				titles = map[string]bool{}
				continue
			}
			panels++
			panel := *either.Panel
			if panel.Title == nil || panel.Description == nil || *panel.Description == "" {
				t.Errorf("%s: a panel without title or description", file)
				continue
			}
			if titles[*panel.Title] {
				t.Errorf("%s: two panels %q in a row", file, *panel.Title)
			}
			titles[*panel.Title] = true
			place := panel.GridPos
			if place.X+place.W > 24 {
				t.Errorf("%s: %q is wider than the page", file, *panel.Title)
			}
			for x := place.X; x < place.X+place.W; x++ {
				for y := place.Y; y < place.Y+place.H; y++ {
					if other, there := taken[[2]uint32{x, y}]; there {
						t.Fatalf("%s: %q lies on %q", file, *panel.Title, other)
					}
					taken[[2]uint32{x, y}] = *panel.Title
				}
			}
		}
		if panels < 15 {
			t.Errorf("%s: %d panels were read", file, panels)
		}
	}
}
