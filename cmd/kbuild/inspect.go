package main

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/spf13/cobra"
)

// inspection is the form of kbuild inspect --format json.
type inspection struct {
	Root            string          `json:"root"`
	Recipe          string          `json:"recipe"`
	Way             string          `json:"way"`
	BaseImage       string          `json:"baseImage"`
	BaseFrom        string          `json:"baseFrom"`
	BaseLocal       bool            `json:"baseLocal"`
	CrossDockerfile string          `json:"crossDockerfile,omitempty"`
	ImageNames      []string        `json:"imageNames"`
	Context         string          `json:"context,omitempty"`
	ContextFiles    []string        `json:"contextFiles,omitempty"`
	BuildArgs       []string        `json:"buildArgs,omitempty"`
	NetworkSteps    []string        `json:"networkSteps,omitempty"`
	VersionFile     string          `json:"versionFile"`
	Version         inspectVersion  `json:"version"`
	BuiltinVersion  string          `json:"builtinVersion,omitempty"`
	Sources         []string        `json:"sources,omitempty"`
	SourceFilter    []string        `json:"sourceFilter,omitempty"`
	Command         []string        `json:"command"`
	Mounts          []inspectMount  `json:"mounts"`
	Environment     []string        `json:"environment"`
	Persistent      []string        `json:"persistent"`
	Outputs         []inspectOutput `json:"outputs"`
	CopyBack        []string        `json:"copyBack,omitempty"`
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

func (a *app) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect [TARGET...]", Short: "print what kbuild knows about the tree, and change nothing",
		RunE: func(cmd *cobra.Command, args []string) error { return a.inspect(cmd, args) },
	}
	a.formatFlag(cmd.Flags())
	a.platformFlag(cmd.Flags())
	cmd.Flags().Bool("targets", false, "print the targets that the tree lists, one a line, and nothing else")
	return cmd
}

func (a *app) inspect(cmd *cobra.Command, args []string) error {
	req, err := a.request(cmd, a.targets(cmd, args))
	if err != nil {
		return err
	}
	plan, err := builder.Inspect(cmd.Context(), req, a.out)
	if err != nil {
		return a.explain(cmd, req.Work.Targets, err)
	}
	if only, err := cmd.Flags().GetBool("targets"); err == nil && only {
		return a.inspectTargets(plan.Tree)
	}
	tree, version, r := plan.Tree, plan.Version, plan.Tree.Recipe
	i := inspection{
		Root: tree.Root, Recipe: r.Name, Way: string(r.Way),
		BaseImage: r.BaseImage, BaseFrom: r.BaseFrom, BaseLocal: r.BaseLocal,
		CrossDockerfile: r.CrossDockerfile, ImageNames: tree.ImageNames(version), Context: r.Context, BuildArgs: r.BuildArgs,
		NetworkSteps: r.NetworkSteps, VersionFile: r.VersionFile, Version: inspectVersion(version), Sources: r.SourceList,
		SourceFilter: ruleLines(r.SourceFilter), Command: plan.Command, Environment: r.Environment, Persistent: r.Persistent,
		CopyBack: ruleLines(r.CopyBack),
	}
	if version.GitVersion == "" {
		i.BuiltinVersion, _ = tree.BuiltinVersion()
	}
	for _, f := range r.ContextFiles {
		i.ContextFiles = append(i.ContextFiles, f.Name)
	}
	for _, m := range r.Mounts {
		i.Mounts = append(i.Mounts, inspectMount(m))
	}
	for _, o := range r.Outputs {
		i.Outputs = append(i.Outputs, inspectOutput{o.Container, o.Host})
	}
	if a.format == "json" {
		return writeJSON(a.stdout, i)
	}
	var text strings.Builder
	for _, row := range []struct {
		key    string
		values []string
	}{
		{"root", []string{i.Root}}, {"recipe", []string{i.Recipe + " (" + wayLine(r) + ")"}},
		{"base image", []string{i.BaseImage + " (from " + r.BaseFrom + ")"}}, {"made from", nonEmpty(i.CrossDockerfile)},
		{"image names", i.ImageNames}, {"context", i.ContextFiles}, {"build args", i.BuildArgs}, {"network", i.NetworkSteps},
		{"version", strings.Split(strings.TrimSpace(string(version.File())), "\n")}, {"built in", nonEmpty(i.BuiltinVersion)},
		{"version file", []string{i.VersionFile}}, {"sources", append(i.Sources, i.SourceFilter...)},
		{"command", []string{shellLine(i.Command)}}, {"mounts", mountLines(i.Mounts)}, {"environment", i.Environment},
		{"persistent", i.Persistent}, {"outputs", outputLines(i.Outputs)}, {"copied back", i.CopyBack},
	} {
		for n, v := range row.values {
			key := row.key
			if n > 0 {
				key = ""
			}
			fmt.Fprintf(&text, "%-13s %s\n", key, oneLine(v))
		}
	}
	_, err = io.WriteString(a.stdout, text.String())
	return err
}

// inspectTargets prints the targets that a tree lists, each once.
func (a *app) inspectTargets(tree kube.Tree) error {
	targets, err := tree.Targets()
	if err != nil {
		return err
	}
	slices.Sort(targets)
	targets = slices.Compact(targets)
	if a.format == "json" {
		return writeJSON(a.stdout, targets)
	}
	_, err = fmt.Fprintln(a.stdout, strings.Join(targets, "\n"))
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

// wayLine says in a few words how the sources get in.
func wayLine(r kube.Recipe) string {
	switch r.Way {
	case kube.WaySync:
		return "sources put where upstream copies them with rsync"
	case kube.WayMount:
		return "the tree in a container of its base image"
	}
	if r.BaseLocal {
		return "a source archive, a base image assembled on the spot"
	}
	return "a source archive"
}

func ruleLines(f sources.Filter) []string {
	var lines []string
	for _, r := range f {
		lines = append(lines, r.String())
	}
	return lines
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// shellLine is a command as a person would type it.
func shellLine(words []string) string {
	line := make([]string, len(words))
	for i, w := range words {
		if line[i] = w; w == "" || strings.ContainsAny(w, " \t\n\"'$`\\*?[]{}();&|<>#~") {
			line[i] = quoted(w)
		}
	}
	return strings.Join(line, " ")
}

// quoted is a word in quotes of a shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
