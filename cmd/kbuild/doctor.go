package main

import (
	"encoding/json"
	"fmt"

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

// Findings prints what was found of the host as lines, or as JSON.
func (h *human) Findings(list []preflight.Finding) error {
	for i := range list {
		if list[i].Fix == "" && list[i].Check == preflight.Runtime && list[i].Severity == preflight.Fatal {
			list[i].Fix = "export BUILDAH_ISOLATION=chroot"
		}
	}
	verdict := verdicts[preflight.Worst(list)]
	if h.Format == "json" {
		enc := json.NewEncoder(h.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			Verdict string              `json:"verdict"`
			Checks  []preflight.Finding `json:"checks"`
		}{verdict, list})
	}
	for _, f := range list {
		word, err := f.Severity.MarshalText()
		if err != nil {
			return err
		}
		fmt.Fprintf(h.stdout, "%-6s %s: %s\n", word, f.Check, oneLine(f.Found))
		if f.Fix != "" {
			fmt.Fprintf(h.stdout, "       fix: %s\n", oneLine(f.Fix))
		}
	}
	_, err := fmt.Fprintln(h.stdout, verdict)
	return err
}
