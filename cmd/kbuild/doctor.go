package main

import (
	"fmt"
	"strings"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/spf13/cobra"
)

func (a *app) doctorCommand() *cobra.Command {
	var req builder.DoctorRequest
	cmd := withFlags(&cobra.Command{
		Use: "doctor", Short: "try what a build needs of this host, and say what to fix",
		Long: `Tries what a build needs of this host, without a tree or an image, and changes
nothing. For each check it prints what it found, whether builds work, work with
a loss or fail, and a command that mends it. The exit status is 1 where builds
fail.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if req.Settings, req.Mirrors, err = a.settingsAndMirrors(cmd); err != nil {
				return err
			}
			a.status, err = builder.Doctor(cmd.Context(), req, a.out)
			return err
		},
	}, a.formatFlag, a.mirrorFlags)
	cmd.Flags().BoolVar(&req.Network, "network", false, "ask the mirrors, too, whether they are there")
	return cmd
}

// verdicts are what the worst finding means.
var verdicts = map[preflight.Severity]string{
	preflight.Fine: "builds work", preflight.Warning: "builds work, with a loss", preflight.Fatal: "builds fail",
}

// states are how kbuild doctor shows the findings.
var states = []string{preflight.Fine: "ok", preflight.Warning: "loss", preflight.Fatal: "fails"}

// Findings prints what was found of the host as lines, or as JSON.
func (h *human) Findings(list []preflight.Finding) error {
	verdict, text := verdicts[preflight.Worst(list)], findingsText(states, list)
	for i, f := range list {
		list[i].Fix = fixOf(f)
	}
	return h.answer(struct {
		Verdict string              `json:"verdict"`
		Checks  []preflight.Finding `json:"checks"`
	}{verdict, list}, text+verdict+"\n")
}

// findingsText has a line for each finding, which the name of its severity begins,
// and one for what to do about it.
func findingsText(names []string, list []preflight.Finding) string {
	var text strings.Builder
	width := 0
	for _, name := range names {
		width = max(width, len(name)+1)
	}
	for _, f := range list {
		fmt.Fprintf(&text, "%-*s %s: %s\n", width, names[f.Severity], f.Check, oneLine(f.Found))
		if fix := fixOf(f); fix != "" {
			fmt.Fprintf(&text, "%*s fix: %s\n", width, "", oneLine(fix))
		}
	}
	return text.String()
}
