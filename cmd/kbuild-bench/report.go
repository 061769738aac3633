package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A report is what a benchmark found, as it is written in JSON. Times are in
// seconds, memory is in bytes.
type report struct {
	Host    string   `json:"host"`
	Tree    string   `json:"tree"`
	Runs    int      `json:"runs"`
	LeftOut []string `json:"leftOut,omitempty"` // and why
	Rows    []row    `json:"cases"`
}

// A row is a case.
type row struct {
	Case  string `json:"case"`
	Title string `json:"title"`
	Cells []cell `json:"ways"`
}

// A cell is a case done one way.
type cell struct {
	Way string `json:"way"`
	// Wall is the whole process, Began what went before the tree's script said
	// its first word; Memory is the largest of all the processes at its peak.
	Wall   []float64 `json:"wall"`
	Began  []float64 `json:"began,omitempty"`
	Memory []int64   `json:"memory"`
	// Summary is computed from Wall.
	Summary summary `json:"summary"`
	// Over is the median less that of the bare host, where both are there.
	Over *float64 `json:"overBareHost,omitempty"`
	// Error is why there are fewer runs than there should be.
	Error string `json:"error,omitempty"`
}

type summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// summarize needs at least one value.
func summarize(values []float64) summary {
	s := slices.Sorted(slices.Values(values))
	return summary{Median: median(s), Min: s[0], Max: s[len(s)-1]}
}

// median of sorted values: of an even number, the middle of the two middle ones.
func median[T int64 | float64](s []T) T { return (s[(len(s)-1)/2] + s[len(s)/2]) / 2 }

// finish computes what follows from the runs.
func (r *row) finish() {
	var bare *summary
	for i := range r.Cells {
		c := &r.Cells[i]
		if len(c.Wall) == 0 {
			continue
		}
		c.Summary = summarize(c.Wall)
		if c.Way == wayBare {
			bare = &c.Summary
		}
	}
	for i := range r.Cells {
		if c := &r.Cells[i]; bare != nil && c.Way != wayBare && len(c.Wall) > 0 {
			over := c.Summary.Median - bare.Median
			c.Over = &over
		}
	}
}

// markdown is the report for people.
func (r report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s; %d runs each, the ways taking turns\n\n", r.Tree, r.Host, r.Runs)
	for _, l := range r.LeftOut {
		fmt.Fprintf(&b, "Left out: %s\n\n", l)
	}
	b.WriteString("| case | way | median | min to max | overhead | before the script | peak memory |\n" +
		"|---|---|--:|--:|--:|--:|--:|\n")
	for _, row := range r.Rows {
		title := row.Title
		for _, c := range row.Cells {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", cellText(title), c.Way, strings.Join(c.columns(), " | "))
			title = ""
		}
	}
	return b.String()
}

// columns are those of the Markdown table after the way.
func (c cell) columns() []string {
	if len(c.Wall) == 0 {
		return []string{"failed: " + cellText(c.Error), "", "", "", ""}
	}
	over, began := "", ""
	if c.Over != nil {
		over = fmt.Sprintf("%.2f s", *c.Over)
	}
	if len(c.Began) > 0 {
		began = fmt.Sprintf("%.2f s", summarize(c.Began).Median)
	}
	spread := fmt.Sprintf("%.2f to %.2f", c.Summary.Min, c.Summary.Max)
	if c.Error != "" {
		spread += fmt.Sprintf(" (%d runs, then: %s)", len(c.Wall), cellText(c.Error))
	}
	memory := slices.Sorted(slices.Values(c.Memory))
	return []string{fmt.Sprintf("%.2f s", c.Summary.Median), spread, over, began, fmt.Sprintf("%d MB", median(memory)>>20)}
}

// cellText keeps a text from ending a cell of the table.
func cellText(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}

// write writes the report so far beside its place.
func (r report) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return errors.Join(
		os.WriteFile(path+".json", append(data, '\n'), 0o644),
		os.WriteFile(path+".md", []byte(r.markdown()), 0o644))
}

// describeHost says what was measured on.
func describeHost() string {
	model := runtime.GOARCH
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := "unknown kernel"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	who := "as root"
	if os.Geteuid() != 0 {
		who = "unprivileged"
	}
	return fmt.Sprintf("%d x %s, %s, %s", runtime.NumCPU(), model, kernel, who)
}
