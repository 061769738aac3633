package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/spf13/cobra"
)

// inspection is the form of kbuild inspect --format json.
type inspection struct {
	Root        string          `json:"root"`
	Recipe      string          `json:"recipe"`
	BaseImage   string          `json:"baseImage"`
	ImageNames  []string        `json:"imageNames"`
	VersionFile string          `json:"versionFile"`
	Version     inspectVersion  `json:"version"`
	Sources     []string        `json:"sources"`
	Command     []string        `json:"command"`
	Mounts      []inspectMount  `json:"mounts"`
	Environment []string        `json:"environment"`
	Persistent  []string        `json:"persistent"`
	Outputs     []inspectOutput `json:"outputs"`
}

type inspectVersion struct {
	Commit     string `json:"gitCommit"`
	TreeState  string `json:"gitTreeState"`
	GitVersion string `json:"gitVersion"`
	Major      string `json:"gitMajor"`
	Minor      string `json:"gitMinor"`
}

type inspectMount struct {
	Host      string `json:"host"`
	Container string `json:"container"`
	ReadOnly  bool   `json:"readOnly"`
}

type inspectOutput struct {
	Container string `json:"container"`
	Host      string `json:"host"`
}

func (a *app) inspect(cmd *cobra.Command, args []string) error {
	req, err := a.parsed(cmd)
	if err != nil {
		return err
	}
	tree, err := a.openTree(cmd.Context())
	if err != nil {
		return err
	}
	req.Goal, req.Tree = goalBuild, tree
	if err := a.commandLine(cmd, &req, args); err != nil {
		return err
	}
	version, err := tree.Version(cmd.Context())
	if err != nil {
		return err
	}
	r := tree.Recipe
	i := inspection{
		Root: tree.Root, Recipe: r.Name, BaseImage: r.BaseImage, ImageNames: tree.ImageNames(version),
		VersionFile: r.VersionFile, Version: inspectVersion(version), Sources: r.SourceList, Command: req.Command,
		Environment: r.Environment, Persistent: r.Persistent,
	}
	for _, m := range r.Mounts {
		i.Mounts = append(i.Mounts, inspectMount(m))
	}
	for _, o := range r.Outputs {
		i.Outputs = append(i.Outputs, inspectOutput(o))
	}
	if a.format == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(i)
	}
	var text strings.Builder
	for _, row := range []struct {
		key    string
		values []string
	}{
		{"root", []string{i.Root}}, {"recipe", []string{i.Recipe}},
		{"base image", []string{i.BaseImage + " (from " + r.BaseFrom + ")"}}, {"image names", i.ImageNames},
		{"version", strings.Split(strings.TrimSpace(string(version.File())), "\n")}, {"version file", []string{i.VersionFile}},
		{"sources", i.Sources}, {"command", []string{strings.Join(i.Command, " ")}},
		{"mounts", mountLines(i.Mounts)}, {"environment", i.Environment}, {"persistent", i.Persistent}, {"outputs", outputLines(i.Outputs)},
	} {
		for n, v := range row.values {
			key := row.key
			if n > 0 {
				key = ""
			}
			fmt.Fprintf(&text, "%-13s %s\n", key, v)
		}
	}
	_, err = io.WriteString(a.stdout, text.String())
	return err
}

func mountLines(mounts []inspectMount) []string {
	var lines []string
	for _, m := range mounts {
		line := m.Host + " at " + m.Container
		if m.ReadOnly {
			line += ", read-only"
		}
		lines = append(lines, line)
	}
	sort.Strings(lines)
	return lines
}

func outputLines(outputs []inspectOutput) []string {
	var lines []string
	for _, o := range outputs {
		lines = append(lines, o.Container+" to "+o.Host)
	}
	return lines
}
