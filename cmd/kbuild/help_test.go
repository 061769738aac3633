package main

import (
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a text with a file of testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = "testdata/" + file
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range gotLines {
		if i >= len(wantLines) || gotLines[i] != wantLines[i] {
			t.Fatalf("%s:%d: got %q; go test -run %s -update writes the file anew", file, i+1, gotLines[i], t.Name())
		}
	}
	t.Fatalf("%s: lines after %d are missing", file, len(gotLines))
}

// commands returns a command and all below it that users see, but for those that
// cobra brings along.
func commands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && sub.Name() != "completion" && sub.Name() != "help" {
			all = append(all, commands(sub)...)
		}
	}
	return all
}

// TestHelp holds every help text.
func TestHelp(t *testing.T) {
	for _, name := range []string{"STORAGE_DRIVER", "BUILDAH_ISOLATION", "REGISTRY_AUTH_FILE"} {
		t.Setenv(name, "")
	}
	var text strings.Builder
	for _, cmd := range commands((&app{out: &human{}}).root()) {
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		text.WriteString("$ kbuild " + strings.Join(args, " ") + "\n")
		if status := run(args, strings.NewReader(""), &text, io.Discard); status != 0 {
			t.Errorf("%q: status %d", args, status)
		}
		text.WriteString("\n")
	}
	golden(t, "help.golden", text.String())
}

// Each command is in one group, and each flag of the root command, too; no group
// names what does not exist.
func TestHelpGroups(t *testing.T) {
	root := (&app{out: &human{}}).root()
	flags := map[string]bool{}
	for _, cmd := range commands(root) {
		cmd.InitDefaultHelpFlag()
		cmd.InitDefaultVersionFlag()
		for _, set := range groupFlags(cmd) {
			if set.Name() == otherFlags && cmd == root {
				t.Errorf("in no group:\n%s", set.FlagUsages())
			}
			for _, g := range flagGroups() {
				for _, name := range g.names {
					if set.Lookup(name) != nil {
						flags[name] = true
					}
				}
			}
		}
	}
	for _, g := range flagGroups() {
		for _, name := range g.names {
			if !flags[name] {
				t.Errorf("%s: no command has --%s", g.title, name)
			}
		}
	}
	grouped := []string{}
	for _, g := range commandGroups() {
		for _, name := range g.names {
			if slices.Contains(grouped, name) {
				t.Errorf("%s is in two groups", name)
			}
			grouped = append(grouped, name)
			if cmd, _, err := root.Find([]string{name}); err != nil || cmd == root {
				t.Errorf("%s: no command %s", g.title, name)
			}
		}
	}
	for _, cmd := range root.Commands() {
		if !cmd.Hidden && !slices.Contains(grouped, cmd.Name()) {
			t.Errorf("%s is in no group", cmd.Name())
		}
	}
}
