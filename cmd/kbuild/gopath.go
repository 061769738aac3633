package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/kbuild/kbuild/builder"
	"github.com/spf13/cobra"
)

const gopathLong = `gopath makes a GOPATH of links in _output/gopath, in which Go and editors find
the tree's packages and those that they import, and changes nothing else of the tree.

    eval "$(kbuild gopath)"

sets the environment of a shell. Open, or work in, the directory that kbuild prints:
Go does not find the packages from the tree's own path. A tree that is a Go module is
opened as it is.`

func (a *app) gopathCommand() *cobra.Command {
	format := "env"
	cmd := &cobra.Command{
		Use: "gopath", Short: "make a GOPATH to read the tree in, and print its environment", Long: gopathLong,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.gopath(cmd, format) },
	}
	cmd.Flags().StringVar(&format, "format", format,
		"`format` of the output: env, for a shell; or json, which names the directory to open, too")
	return cmd
}

func (a *app) gopath(cmd *cobra.Command, format string) (err error) {
	if format != "env" && format != "json" {
		return &usageError{fmt.Errorf("format %q: it is env or json", format)}
	}
	req := builder.GoPathRequest{Tree: a.tree}
	if req.Settings, err = a.settings(cmd); err != nil {
		return err
	}
	g, err := builder.GoPath(cmd.Context(), req, a.out)
	if err != nil {
		return a.explain(cmd, nil, err)
	}
	answer := struct {
		Directory   string            `json:"directory"`
		Module      bool              `json:"module"`
		Environment map[string]string `json:"environment"`
	}{g.Open, g.Module, map[string]string{}}
	var text strings.Builder
	for _, variable := range g.Environment {
		name, value, _ := strings.Cut(variable, "=")
		answer.Environment[name] = value
		fmt.Fprintf(&text, "export %s=%s\n", name, quoted(value))
	}
	if a.out.Format = format; format == "json" && !utf8.ValidString(g.Open) {
		return fmt.Errorf("the path %q is not UTF-8, which JSON cannot say", g.Open)
	}
	return a.out.answer(answer, text.String())
}
