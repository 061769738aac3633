package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/spf13/cobra"
)

func (a *app) inspectCommand() *cobra.Command {
	cmd := withFlags(&cobra.Command{
		Use: "inspect [TARGET...]", Short: "print what kbuild knows about the tree, and change nothing", RunE: a.inspect,
	}, a.formatFlag, a.platformFlag)
	cmd.Flags().Bool("targets", false, "print the targets that the tree lists, one a line, and nothing else")
	return cmd
}

func (a *app) inspect(cmd *cobra.Command, args []string) error {
	req, err := a.request(cmd, targets(cmd, args))
	if err != nil {
		return err
	}
	if only, err := cmd.Flags().GetBool("targets"); err == nil && only {
		targets, err := builder.Targets(cmd.Context(), req, a.out)
		if err != nil {
			return a.explain(cmd, req.Work.Targets, err)
		}
		return a.out.answer(targets, strings.Join(targets, "\n")+"\n")
	}
	i, err := builder.Inspect(cmd.Context(), req, a.out)
	if err != nil {
		return a.explain(cmd, req.Work.Targets, err)
	}
	return a.out.answer(i, inspectionText(i))
}

// inspectionText is an inspection as people read it, a value a line.
func inspectionText(i builder.Inspection) string {
	var text strings.Builder
	for _, row := range []struct {
		key    string
		values []string
	}{
		{"root", []string{i.Root}}, {"recipe", []string{i.Recipe + " (" + wayLine(i) + ")"}},
		{"base image", []string{i.BaseImage + " (from " + i.BaseFrom + ")"}}, {"made from", nonEmpty(i.CrossDockerfile)},
		{"image names", i.ImageNames}, {"context", i.ContextFiles}, {"build args", i.BuildArgs}, {"network", i.NetworkSteps},
		{"version", versionLines(i.Version)}, {"built in", nonEmpty(i.BuiltinVersion)},
		{"version file", []string{i.VersionFile}}, {"sources", append(i.Sources, i.SourceFilter...)},
		{"command", []string{shellLine(i.Command)}}, {"mounts", mountLines(i.Mounts)}, {"environment", i.Environment},
		{"persistent", i.Persistent}, {"outputs", outputLines(i.Outputs)}, {"copied back", i.CopyBack},
	} {
		key := row.key
		for _, v := range row.values {
			fmt.Fprintf(&text, "%-13s %s\n", key, oneLine(v))
			key = ""
		}
	}
	return text.String()
}

func versionLines(v builder.InspectedVersion) []string {
	return strings.Split(strings.TrimSpace(string(kube.Version(v).File())), "\n")
}

func mountLines(mounts []builder.InspectedMount) []string {
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

func outputLines(outputs []builder.InspectedOutput) []string {
	var lines []string
	for _, o := range outputs {
		lines = append(lines, o.Container+" to "+o.Host)
	}
	return lines
}

// wayLine says in a few words how the sources get in.
func wayLine(i builder.Inspection) string {
	switch {
	case i.Way == kube.WaySync:
		return "sources put where upstream copies them with rsync"
	case i.Way == kube.WayMount:
		return "the tree in a container of its base image"
	case i.BaseLocal:
		return "a source archive, a base image assembled on the spot"
	}
	return "a source archive"
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
