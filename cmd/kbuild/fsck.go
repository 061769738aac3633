package main

import (
	"fmt"

	"github.com/kbuild/kbuild/builder"
	"github.com/spf13/cobra"
)

func (a *app) fsckCommand() *cobra.Command {
	repair := false
	cmd := &cobra.Command{
		Use: "fsck", Short: "check everything that kbuild keeps",
		Long: `Checks everything that kbuild keeps: the images that it pulled or made, compiled
objects and programs, records, locks, toolchains and unfinished downloads. It
prints a line for each that is wrong, and with --repair removes that; the next
build pulls or makes it again. The exit status is 1 where something is wrong and
still there.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.settings(cmd)
			if err == nil {
				a.status, err = builder.Fsck(cmd.Context(), builder.FsckRequest{Settings: s, Repair: repair}, a.out)
			}
			return err
		},
	}
	a.formatFlag(cmd.Flags())
	cmd.Flags().BoolVar(&repair, "repair", false, "remove what is wrong")
	return cmd
}

// Faults prints what was found of the things that kbuild keeps as lines, or as JSON.
func (h *human) Faults(list []builder.Fault) error {
	if h.Format == "json" {
		return writeJSON(h.stdout, list)
	}
	for _, f := range list {
		done := ""
		if f.Repaired {
			done = "; removed"
		}
		if _, err := fmt.Fprintf(h.stdout, "%s\n", oneLine(f.What+": "+f.Why+done)); err != nil {
			return err
		}
	}
	return nil
}
