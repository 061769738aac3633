package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
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
	// clone is whether it is done in a fresh clone of the way's tree.
	clone bool
	// image is whether only the image is made, which is for kbuild alone.
	image bool
	// cache is whether it is done with what another machine wrote, which is for kbuild
	// alone, too.
	cache bool
}

var cases = []benchCase{
	{name: "same", title: "first target, nothing changed", warm: true},
	{name: "same2", title: "second target, nothing changed", warm: true, target: 1},
	{name: "edit", title: "first target, one file changed", warm: true, before: (*bench).editFile},
	{name: "clone", title: "first target in a fresh clone, another one is built", warm: true, clone: true},
	{name: "image", title: "the image alone, from nothing", image: true, before: (*bench).fresh},
	{name: "cold", title: "first target, cold, base image in the store", before: (*bench).fresh},
	{name: "cache", title: "first target, cold, another machine's objects at hand", warm: true, cache: true,
		before: (*bench).fresh},
	{name: "cache-edit", title: "the same, one file changed", warm: true, cache: true, before: (*bench).freshEdited},
	{name: "all", title: "everything, cold, base image in the store", target: -1, before: (*bench).fresh},
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
		if (c.image || c.cache) && w.name() != wayKbuild {
			continue
		}
		r.Cells = append(r.Cells, cell{Way: w.name()})
	}
	for i := range r.Cells {
		if err := b.restore(b.way(r.Cells[i].Way)); err != nil {
			r.Cells[i].Error = err.Error()
		}
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
				err = b.warm(ctx, c, w)
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
func (b *bench) runCase(ctx context.Context, c benchCase, w way, n int) (measured, error) {
	if c.before != nil {
		if err := c.before(b, ctx, w, n); err != nil {
			return measured{}, err
		}
	}
	dir := w.tree()
	if c.clone {
		dir = filepath.Join(b.dir, fmt.Sprintf("%s-clone-%d", w.name(), n))
		if err := b.clone(ctx, w.tree(), dir); err != nil {
			return measured{}, err
		}
	}
	return b.runOnce(ctx, c, w, dir)
}

// warm does what is done once before a case, and not measured.
func (b *bench) warm(ctx context.Context, c benchCase, w way) error {
	if !c.cache {
		_, err := b.runOnce(ctx, c, w, w.tree())
		return err
	}
	return w.(kbuild).share(ctx, b.targets[c.target])
}

func (b *bench) runOnce(ctx context.Context, c benchCase, w way, dir string) (measured, error) {
	if c.image {
		return b.time(ctx, w.(kbuild).image(dir))
	}
	if c.cache {
		return b.time(ctx, w.(kbuild).shared(dir, b.targets[c.target]))
	}
	var targets []string
	if c.target >= 0 {
		targets = []string{b.targets[c.target]}
	}
	return b.time(ctx, w.build(dir, targets))
}

// fresh brings a way back to where it has the base image and nothing is built.
// What was built is put aside, not removed: ext4 gives the inodes of what was
// removed in the last minutes to nobody (recently_deleted in the kernel's
// fs/ext4/ialloc.c) and, to make a file, passes over them one by one. A tree
// whose removal is that fresh takes three times as long to unpack.
func (b *bench) fresh(ctx context.Context, w way, _ int) error {
	aside := filepath.Join(b.dir, "aside")
	if err := os.MkdirAll(aside, 0o755); err != nil {
		return err
	}
	to, err := os.MkdirTemp(aside, w.name()+"-")
	if err != nil {
		return err
	}
	if err := w.setAside(to); err != nil {
		return err
	}
	if err := w.prepare(ctx); err != nil {
		return err
	}
	// Nor is the disk to be busy with the base image.
	unix.Sync()
	return nil
}

// freshEdited is fresh, and one file is changed.
func (b *bench) freshEdited(ctx context.Context, w way, n int) error {
	if err := b.fresh(ctx, w, n); err != nil {
		return err
	}
	return b.editFile(ctx, w, n)
}

// restore brings back the file that editFile changed.
func (b *bench) restore(w way) error {
	text, err := os.ReadFile(filepath.Join(b.pristine, b.edit))
	if err != nil {
		return err
	}
	file := filepath.Join(w.tree(), b.edit)
	if has, err := os.ReadFile(file); err != nil || bytes.Equal(has, text) {
		return err
	}
	return os.WriteFile(file, text, 0o644) // which keeps the mode
}

// editFile changes one Go file of a way's tree, each time in another way.
func (b *bench) editFile(_ context.Context, w way, n int) error {
	file := filepath.Join(w.tree(), b.edit)
	text, err := os.ReadFile(filepath.Join(b.pristine, b.edit))
	if err != nil {
		return err
	}
	return os.WriteFile(file, edited(text, n), 0o644) // which keeps the mode
}

// edited is a Go file with something at its end that is compiled.
func edited(text []byte, n int) []byte {
	return fmt.Appendf(text[:len(text):len(text)], "\nvar _ = \"kbuild-bench %06d\"\n", n)
}
