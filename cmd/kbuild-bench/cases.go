package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// A benchCase is one row of the table.
type benchCase struct {
	name, title string
	// warm is whether the same is done once before, and not measured.
	warm bool
	// target is which of the two; -1 is everything.
	target int
	// before is what is done before each measured run.
	before func(*bench, context.Context, way, int) error
	// clone is whether it is done in a fresh clone of the way's tree, which
	// goes after it.
	clone bool
	// image is whether only the image is made, which is for kbuild alone.
	image bool
}

var cases = []benchCase{
	{name: "same", title: "first target, nothing changed", warm: true},
	{name: "same2", title: "second target, nothing changed", warm: true, target: 1},
	{name: "edit", title: "first target, one file changed", warm: true, before: (*bench).editFile},
	{name: "clone", title: "first target in a fresh clone, another one is built", warm: true, clone: true},
	{name: "image", title: "the image alone, from nothing", image: true, before: (*bench).clean},
	{name: "cold", title: "first target, cold, base image in the store", before: (*bench).clean},
	{name: "all", title: "everything, cold, base image in the store", target: -1, before: (*bench).clean},
}

func caseNames() []string {
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
	}
	return names
}

// measure measures a case every way, the ways taking turns. A way that fails is
// told of and goes no further in this case; the error is that there is no going
// on at all.
func (b *bench) measure(ctx context.Context, c benchCase) (row, error) {
	r := row{Case: c.name, Title: c.title}
	for _, w := range b.ways {
		if c.image && w.name() != wayKbuild {
			continue
		}
		r.Cells = append(r.Cells, cell{Way: w.name()})
	}
	for n := range b.runs + 1 {
		for i := range r.Cells {
			cell := &r.Cells[i]
			if cell.Error != "" {
				continue
			}
			w := b.way(cell.Way)
			var err error
			var m measured
			switch {
			case n == 0 && c.warm:
				_, err = b.runOnce(ctx, c, w, w.tree())
			case n > 0:
				m, err = b.runCase(ctx, c, w, n)
			}
			if ctx.Err() != nil {
				return r, ctx.Err()
			}
			if err != nil {
				cell.Error = err.Error()
				fmt.Fprintf(os.Stderr, "kbuild-bench: %s, %s: FAILED: %v\n", c.title, cell.Way, err)
				continue
			}
			if n > 0 {
				cell.Wall, cell.Memory = append(cell.Wall, m.wall), append(cell.Memory, m.memory)
				if m.began > 0 {
					cell.Began = append(cell.Began, m.began)
				}
				fmt.Fprintf(os.Stderr, "kbuild-bench: %s, %s: %.2f s\n", c.title, cell.Way, m.wall)
			}
		}
	}
	r.finish()
	return r, nil
}

// runCase does a case once.
func (b *bench) runCase(ctx context.Context, c benchCase, w way, n int) (m measured, err error) {
	if c.before != nil {
		if err := c.before(b, ctx, w, n); err != nil {
			return m, err
		}
	}
	dir := w.tree()
	if c.clone {
		dir = filepath.Join(b.dir, fmt.Sprintf("%s-clone-%d", w.name(), n))
		if err := b.clone(ctx, w.tree(), dir); err != nil {
			return m, err
		}
		defer func() {
			if e := w.clean(ctx, dir); err == nil {
				err = e
			}
			if e := os.RemoveAll(dir); err == nil {
				err = e
			}
		}()
	}
	return b.runOnce(ctx, c, w, dir)
}

func (b *bench) runOnce(ctx context.Context, c benchCase, w way, dir string) (measured, error) {
	if c.image {
		return b.time(ctx, w.(kbuild).image(dir))
	}
	var targets []string
	if c.target >= 0 {
		targets = []string{b.targets[c.target]}
	}
	return b.time(ctx, w.build(dir, targets))
}

// clean brings a way's tree back to where nothing is built.
func (b *bench) clean(ctx context.Context, w way, _ int) error { return w.clean(ctx, w.tree()) }

// editFile changes one Go file of a way's tree, each time in another way.
func (b *bench) editFile(_ context.Context, w way, n int) error {
	file := filepath.Join(w.tree(), b.edit)
	text, err := os.ReadFile(filepath.Join(b.pristine, b.edit))
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, edited(text, n), info.Mode().Perm())
}

// edited is a Go file with something at its end that is compiled.
func edited(text []byte, n int) []byte {
	return fmt.Appendf(text[:len(text):len(text)], "\nvar _ = \"kbuild-bench %06d\"\n", n)
}
