package main

import (
	"fmt"
	"strings"

	"github.com/kbuild/kbuild/builder"
	"github.com/spf13/cobra"
)

func (a *app) fsckCommand() *cobra.Command {
	var req builder.FsckRequest
	cmd := withFlags(&cobra.Command{
		Use: "fsck", Short: "check everything that kbuild keeps",
		Long: `Checks everything that kbuild keeps: the images that it pulled or made, compiled
objects and programs, records, locks, toolchains and unfinished downloads. It
prints a line for each that is wrong, and with --repair removes that; the next
build pulls or makes it again. A list of what the store holds that cannot be read
is repaired instead: what can still be read of it stays, and the list as it was is
kept beside it, as LIST.spoilt. Of what it lost, the next build makes what was
kbuild's again; other programs, such as podman, may use the same store. The exit
status is 1 where something is wrong and still there.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if req.Settings, err = a.settings(cmd); err == nil {
				a.status, err = builder.Fsck(cmd.Context(), req, a.out)
			}
			return err
		},
	}, a.formatFlag)
	cmd.Flags().BoolVar(&req.Repair, "repair", false, "remove or repair what is wrong")
	return cmd
}

// Faults prints what was found of the things that kbuild keeps as lines, or as JSON.
func (h *human) Faults(list []builder.Fault) error {
	var text strings.Builder
	for _, f := range list {
		done := ""
		switch {
		case f.Kept != "":
			done = "; repaired, what it was is kept in " + f.Kept
		case f.Repaired:
			done = "; removed"
		}
		fmt.Fprintln(&text, oneLine(f.What+": "+f.Why+done))
	}
	return h.answer(list, text.String())
}
