package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is the number of columns that the flags of a help text are wrapped to.
const helpWidth = 100

// A helpGroup is a title and the names of the commands or flags below it.
type helpGroup struct {
	title string
	names []string
}

// commandGroups are the groups of commands, in the order in which help prints
// them.
func commandGroups() []helpGroup {
	return []helpGroup{
		{"The steps of a build, one by one", []string{"check", "mirror", "image", "compile"}},
		{"In the build container", []string{"run", "shell"}},
		{"Images", []string{"images", "cross", "lock", "bundle", "cache"}},
		{"Cleaning up", []string{"clean", "prune", "fsck"}},
		{"Looking around", []string{"doctor", "inspect", "gopath", "demo", "version", "completion", "help"}},
	}
}

// flagGroups are the groups of flags. A flag that is in none is one of its
// command's own, and is printed before them.
func flagGroups() []helpGroup {
	return []helpGroup{
		{"What is built", []string{
			"tree", "build-platform", "output", "git-version", "allow-unknown-version", "env", "as-upstream",
		}},
		{"Where the base image comes from", []string{
			"mirror", "authfile", "creds", "cert-dir", "tls-verify", "platform", "registries-conf", "retry", "retry-delay",
			"timeout", "force",
		}},
		{"Objects that other machines compiled", []string{"cache-from", "cache-to", "trust-from"}},
		{"Trust", []string{"trust", "lock", "frozen", "policy", "registries.d", "require-signed"}},
		{"Network", []string{"network", "offline"}},
		{"Store and containers", []string{"root", "storage-driver", "isolation"}},
		{"Output", []string{"dry-run", "format", "quiet", "log-level", "timings", "help", "version"}},
	}
}

// otherFlags is the title of the flags that are in no group.
const otherFlags = "Flags of this command"

// usage prints how a command is called, with its commands and flags in groups.
func usage(cmd *cobra.Command) error {
	out := cmd.OutOrStderr()
	fmt.Fprintf(out, "Usage:\n  %s\n", cmd.UseLine())
	subs := map[string]string{}
	all := helpGroup{title: "Commands"}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			subs[sub.Name()] = sub.Short
			all.names = append(all.names, sub.Name())
		}
	}
	groups := []helpGroup{all}
	if !cmd.HasParent() {
		groups = commandGroups()
	}
	for _, g := range groups {
		title := "\n" + g.title + ":\n"
		for _, name := range g.names {
			if short, ok := subs[name]; ok {
				fmt.Fprintf(out, "%s  %-*s  %s\n", title, cmd.NamePadding(), name, short)
				title = ""
			}
		}
	}
	for _, g := range groupFlags(cmd) {
		fmt.Fprintf(out, "\n%s:\n%s", g.Name(), g.FlagUsagesWrapped(helpWidth))
	}
	if len(subs) > 0 {
		fmt.Fprintf(out, "\nMore about a command: %s COMMAND --help\n", cmd.CommandPath())
	}
	return nil
}

// groupFlags returns a command's flags in their groups, none of them empty. A
// set's name is its title.
func groupFlags(cmd *cobra.Command) (sets []*pflag.FlagSet) {
	groups := append([]helpGroup{{title: otherFlags}}, flagGroups()...)
	flags := map[string]*pflag.Flag{}
	see := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		flags[f.Name] = f
		if !slices.ContainsFunc(groups, func(g helpGroup) bool { return slices.Contains(g.names, f.Name) }) {
			groups[0].names = append(groups[0].names, f.Name)
		}
	}
	cmd.LocalFlags().VisitAll(see)
	cmd.InheritedFlags().VisitAll(see)
	for _, g := range groups {
		set := pflag.NewFlagSet(g.title, pflag.ContinueOnError)
		set.SortFlags = false
		for _, name := range g.names {
			if f, ok := flags[name]; ok {
				set.AddFlag(f)
			}
		}
		if set.HasFlags() {
			sets = append(sets, set)
		}
	}
	return sets
}
