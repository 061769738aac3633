package main

import (
	"fmt"
	"io"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/spf13/cobra"
)

func (a *app) doctorCommand() *cobra.Command {
	network := false
	cmd := &cobra.Command{
		Use: "doctor", Short: "try what a build needs of this host, and say what to fix",
		Long: `Tries what a build needs of this host, without a tree or an image, and changes
nothing. For each check it prints what it found, whether builds work, work with
a loss or fail, and a command that mends it. The exit status is 1 where builds
fail.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.settings(cmd)
			if err != nil {
				return err
			}
			req := builder.DoctorRequest{Settings: s, Network: network}
			if req.Mirrors, err = a.mirrorsOf(cmd); err != nil {
				return err
			}
			a.status, err = builder.Doctor(cmd.Context(), req, a.out)
			return err
		},
	}
	a.formatFlag(cmd.Flags())
	cmd.Flags().BoolVar(&network, "network", false, "ask the mirrors, too, whether they are there")
	a.mirrorFlags(cmd.Flags())
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
	verdict := verdicts[preflight.Worst(list)]
	if h.Format == "json" {
		for i, f := range list {
			list[i].Fix = fixOf(f)
		}
		return writeJSON(h.stdout, struct {
			Verdict string              `json:"verdict"`
			Checks  []preflight.Finding `json:"checks"`
		}{verdict, list})
	}
	writeFindings(h.stdout, states, list)
	_, err := fmt.Fprintln(h.stdout, verdict)
	return err
}

// writeFindings writes a line for each finding, which the name of its severity
// begins, and one for what to do about it.
func writeFindings(w io.Writer, names []string, list []preflight.Finding) {
	width := 0
	for _, name := range names {
		width = max(width, len(name)+1)
	}
	for _, f := range list {
		fmt.Fprintf(w, "%-*s %s: %s\n", width, names[f.Severity], f.Check, oneLine(f.Found))
		if fix := fixOf(f); fix != "" {
			fmt.Fprintf(w, "%*s fix: %s\n", width, "", oneLine(fix))
		}
	}
}
