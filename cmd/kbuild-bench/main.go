// Command kbuild-bench measures kbuild on a Kubernetes tree against what it is
// to be held against: the same script on the bare host with the same Go,
// upstream's build/run.sh with podman for docker, and buildah's commands in a
// row. What it measures are whole processes, one at a time, the ways taking
// turns. It is what make bench runs.
//
// It works in copies of the tree below one directory, with stores and caches of
// its own, and leaves the user's tree, images and caches alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// options are the flags.
type options struct {
	kbuild  string
	tree    string // "" for the small one
	base    string // as kbuild --mirror takes it
	goroot  string
	targets [2]string
	edit    string
	began   string
	cache   string
	runs    int
	cases   []string // none: all
	ways    []string
	work    string
	out     string
}

func main() {
	var o options
	list := func(to *[]string) func(string) error {
		return func(s string) error {
			*to = strings.Split(s, ",")
			return nil
		}
	}
	flag.StringVar(&o.kbuild, "kbuild", "bin/kbuild", "the kbuild `program`")
	flag.StringVar(&o.tree, "tree", "", "`directory` of a Kubernetes tree (default: the small one of kbuild demo)")
	flag.StringVar(&o.base, "base", "",
		"the tree's base `image`, as kbuild --mirror and podman pull take it, transport and all")
	flag.StringVar(&o.goroot, "goroot", "",
		"`directory` of the base image's Go for the bare host, to which it may write (default: the go command's)")
	flag.StringVar(&o.targets[0], "target", "cmd/kubelet", "`target` to compile")
	flag.StringVar(&o.targets[1], "target2", "cmd/kubectl", "another `target`")
	flag.StringVar(&o.edit, "edit", "",
		"Go `file` of the tree to change (default: pkg/kubelet/util.go, or pkg/kubelet/kubelet.go)")
	flag.StringVar(&o.began, "began", `Go version:|Building go targets`,
		"`pattern` of the line with which the tree's script begins")
	flag.StringVar(&o.cache, "cache", "",
		"`place` where machines share what they compile, as kbuild --cache-to takes it (default: a directory)")
	flag.IntVar(&o.runs, "runs", 5, "`times` each case is measured")
	flag.Func("cases",
		"which cases, `names` separated by commas (default: all): "+strings.Join(caseNames(), ","), list(&o.cases))
	flag.Func("ways",
		"which ways, `names` separated by commas (default: all that are there): "+strings.Join(wayNames, ","), list(&o.ways))
	flag.StringVar(&o.work, "work", "",
		"`directory` to make and work in (default: one below TMPDIR or /var/tmp); removed at the end")
	flag.StringVar(&o.out, "out", "bin/bench", "`path` of the reports, to which .md and .json are added")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "kbuild-bench:", err)
		os.Exit(1)
	}
}

// check finds what is wrong with the flags.
func (o options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: there are only flags; see -help", rest[0])
	case o.runs < 1:
		return fmt.Errorf("-runs %d: at least 1", o.runs)
	case (o.tree == "") != (o.base == ""):
		return errors.New("-tree and -base belong together: a tree needs its base image")
	}
	for _, c := range o.cases {
		if !slices.Contains(caseNames(), c) {
			return fmt.Errorf("-cases: there is no %q, but %s", c, strings.Join(caseNames(), ", "))
		}
	}
	for _, w := range o.ways {
		if !slices.Contains(wayNames, w) {
			return fmt.Errorf("-ways: there is no %q, but %s", w, strings.Join(wayNames, ", "))
		}
	}
	return nil
}

func run(ctx context.Context, o options) (err error) {
	if err := o.check(flag.Args()); err != nil {
		return err
	}
	b, err := open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.remove()) }()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	r := report{Host: describeHost(), Tree: b.describe(ctx), Runs: o.runs, LeftOut: b.leftOut}
	for _, c := range cases {
		if len(o.cases) > 0 && !slices.Contains(o.cases, c.name) {
			continue
		}
		row, err := b.measure(ctx, c)
		if err != nil {
			return err
		}
		// What was measured is kept, whatever becomes of the rest.
		r.Rows = append(r.Rows, row)
		if err := r.write(o.out); err != nil {
			return err
		}
	}
	fmt.Printf("\n%s\n%s.md and %s.json hold it\n", r.markdown(), o.out, o.out)
	return nil
}
