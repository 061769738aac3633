package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A step is a command that the power is cut in.
type step struct {
	name string
	from string                // the step that the disk is left by, "" for an empty one
	edit bool                  // a source is changed before
	args func(*power) []string // of the command
	next func(*power) []string // after the cut; nil: args
	last bool                  // whether next builds the program
	// makes is whether a kube-cross is made, which has more in it than the mirror's.
	makes bool
}

// image tells images that hold different things apart.
func (t step) image() string { return fmt.Sprint(t.edit, t.makes) }

// everything has the mirror at hand; alone has what the store has.
func everything(p *power) []string { return []string{"--mirror", p.mirror(), "cmd/kubelet"} }
func alone(*power) []string        { return []string{"--offline", "cmd/kubelet"} }

var steps = []step{
	{name: "pull", args: func(p *power) []string { return []string{"mirror", "--mirror", p.mirror()} }},
	{name: "image", from: "pull", args: func(*power) []string { return []string{"image", "--offline"} }},
	{name: "compile", from: "image", args: func(*power) []string { return []string{"compile", "cmd/kubelet"} },
		next: alone, last: true},
	{name: "publish", from: "compile", edit: true, args: alone, last: true},
	{name: "build", args: everything, last: true},
	{name: "cross", makes: true, args: func(p *power) []string {
		return []string{"cross", "--offline", "--rootfs", p.rootfs, "--go", p.goroot}
	}},
	{name: "bundle load", args: func(p *power) []string { return []string{"bundle", "load", "--offline", p.bundle} }},
}

const (
	cutsARound = 5
	// after is how long after the end of a command the power may fail: ext4
	// commits its journal every five seconds, and writes data after thirty.
	after = 6 * time.Second
)

// power is the part in which the power fails.
type power struct {
	*soak
	place
	*disk
	bundle   string
	pictures string
	took     map[string]time.Duration // by a step that nothing happened to
	want     map[bool][]byte          // the program, before and after the edit
	held     map[string]string        // what the image holds, by [step.image]
}

func runPower(ctx context.Context, s *soak) error {
	p, err := s.stage(ctx)
	if err != nil {
		return err
	}
	for n := range s.rounds {
		t := s.chosen()[n%len(s.chosen())]
		if err := p.round(ctx, n, t); err != nil {
			return fmt.Errorf("round %d, %s: %w", n, t.name, err)
		}
		if s.keep && s.faults > 0 {
			return nil
		}
	}
	return nil
}

func (p *power) picture(name string) string { return filepath.Join(p.pictures, name) }

// needed lists the chosen steps, those that leave the disk that they begin with, and
// for those that build no program one that does, of the same image.
func (s *soak) needed() []step {
	var names []string
	for _, t := range s.chosen() {
		if !t.last && !t.makes {
			names = append(names, "build")
		}
		for ; t.name != ""; t = stepNamed(t.from) {
			names = append(names, t.name)
		}
	}
	return slices.DeleteFunc(slices.Clone(steps), func(t step) bool { return !slices.Contains(names, t.name) })
}

// stepNamed is the zero step where none has the name.
func stepNamed(name string) step {
	if i := slices.IndexFunc(steps, func(t step) bool { return t.name == name }); i >= 0 {
		return steps[i]
	}
	return step{}
}

// rehearse does each needed step with nothing happening, keeps the disk as it is after
// it, and notes what comes of it.
func (p *power) rehearse(ctx context.Context) error {
	if err := p.disk.format(ctx); err != nil {
		return err
	}
	if err := p.disk.mount(ctx, "noatime"); err != nil {
		return err
	}
	err := p.place.make(ctx)
	if err == nil && !p.cold {
		p.want, err = p.fromNothing(ctx, everything(p))
	}
	if err := errors.Join(err, p.disk.unmount()); err != nil {
		return err
	}
	if err := copySparse(p.image, p.picture("empty")); err != nil {
		return err
	}
	for _, t := range p.needed() {
		if err := p.begin(ctx, t, "noatime"); err != nil {
			return err
		}
		if t.name == "bundle load" {
			if _, err := p.kbuild(ctx, "bundle", "save", "--mirror", p.mirror(), p.bundle); err != nil {
				return err
			}
		}
		start := time.Now()
		_, err := p.kbuild(ctx, t.args(p)...)
		p.took[t.name] = time.Since(start)
		if err == nil && t.last {
			var program []byte
			if program, err = os.ReadFile(p.kubelet()); err == nil {
				if known := p.want[t.edit]; known != nil && !bytes.Equal(known, program) {
					err = errors.New("two builds gave different programs")
				}
				p.want[t.edit] = program
			}
		}
		if err := errors.Join(err, p.disk.unmount()); err != nil {
			return err
		}
		if err := copySparse(p.image, p.picture(t.name)); err != nil {
			return err
		}
		if err := p.note(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// note notes what the image holds that comes of a step. It is asked of a copy of
// the disk.
func (p *power) note(ctx context.Context, t step) (err error) {
	if !t.last && !t.makes {
		return nil
	}
	if err := p.disk.mount(ctx, "noatime"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.disk.unmount()) }()
	if !t.last {
		if _, err := p.kbuild(ctx, alone(p)...); err != nil {
			return err
		}
	}
	p.held[t.image()], err = p.holdings(ctx)
	return err
}

// begin makes the disk what it is before a step, with everything written.
func (p *power) begin(ctx context.Context, t step, options string) error {
	from := t.from
	if from == "" {
		from = "empty"
	}
	if err := p.disk.restore(p.picture(from)); err != nil {
		return err
	}
	if err := p.disk.mount(ctx, "noatime"); err != nil {
		return err
	}
	var err error
	if t.edit {
		err = p.edit(p.tree(), true)
	}
	if err = errors.Join(err, p.disk.unmount()); err != nil {
		return err
	}
	return p.disk.mount(ctx, options)
}

// round does a step, takes pictures at random moments, and sees what kbuild
// makes of each.
func (p *power) round(ctx context.Context, n int, t step) error {
	options := []string{"noatime,commit=1", "noatime,commit=5", "noatime,commit=1,noauto_da_alloc"}[p.Intn(3)]
	if err := p.begin(ctx, t, options); err != nil {
		return err
	}
	span := p.took[t.name] + after
	var moments []time.Duration
	for range cutsARound {
		// Half of them while the command runs.
		within := span
		if p.Intn(2) == 0 {
			within = p.took[t.name]
		}
		moments = append(moments, time.Duration(p.Int63n(int64(within))))
	}
	slices.Sort(moments)
	neighbour := p.neighbour(p.Int63())
	cmd := p.command(t.args(p)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	var cuts []string
	var err error
	for i, moment := range moments {
		time.Sleep(moment - time.Since(start))
		file := p.picture(fmt.Sprintf("cut%d", i))
		if err = p.disk.picture(file); err != nil {
			break
		}
		cuts = append(cuts, file)
	}
	cmd.Process.Kill() //nolint:errcheck // it may have ended
	cmd.Wait()         //nolint:errcheck // it may have been killed
	neighbour()
	if err = errors.Join(err, p.disk.unmount()); err != nil {
		return err
	}
	for i, cut := range cuts {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := p.recover(ctx, t, cut)
		where := fmt.Sprintf("round %d: cut %.2f s into %s of %.2f s (%s)", n, moments[i].Seconds(), t.name,
			p.took[t.name].Seconds(), options)
		if err := p.verdict(where, err); err != nil {
			return err
		}
		if p.keep && p.faults > 0 {
			return nil
		}
	}
	return nil
}

// verdict tells what came of one blow. The error is of the soak's own.
func (p *power) verdict(where string, err error) error {
	var f *fault
	switch {
	case err == nil:
		p.tell(false, "right", "%s", where)
	case errors.Is(err, context.Canceled):
		return err // somebody ends the soak
	case errors.As(err, &f):
		p.tell(true, f.kind, "%s: %v", where, err)
	default:
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

// neighbour is another program that has its own file written to the disk now
// and then, and with that, on ext4, what everybody did to directories.
func (p *power) neighbour(seed int64) (stop func()) {
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Add(1)
	go func() {
		defer wait.Done()
		file, err := os.Create(filepath.Join(p.at, "neighbour"))
		if err != nil {
			return
		}
		defer file.Close()
		for {
			seed = seed*6364136223846793005 + 1442695040888963407
			select {
			case <-done:
				return
			case <-time.After(time.Duration(uint64(seed)>>33%1500) * time.Millisecond):
			}
			file.WriteString("x\n") //nolint:errcheck // a full disk is not this part's matter
			file.Sync()             //nolint:errcheck // likewise
		}
	}()
	return func() {
		close(done)
		wait.Wait()
	}
}

// A fault is what must not be after a power cut.
type fault struct {
	kind string
	error
}

func (f *fault) Unwrap() error { return f.error }

// recover has kbuild go on from what a cut left.
func (p *power) recover(ctx context.Context, t step, cut string) (err error) {
	if err := p.disk.restore(cut); err != nil {
		return err
	}
	if err := p.disk.mount(ctx, "noatime"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.disk.unmount()) }()
	return p.judge(ctx, t)
}

// judge has kbuild go on from what is on the mounted disk.
func (p *power) judge(ctx context.Context, t step) error {
	if program, err := os.ReadFile(p.kubelet()); err == nil && !p.wanted(program) {
		return &fault{"wrong", fmt.Errorf("the published program has %d bytes, and is none that was built", len(program))}
	}
	next := t.args
	if t.next != nil {
		next = t.next
	}
	runs := [][]string{next(p)}
	if !t.last {
		runs = append(runs, alone(p))
	}
	var said []string
	for _, args := range runs {
		out, err := p.kbuild(ctx, args...)
		if err != nil {
			return &fault{"stuck", err}
		}
		said = append(said, out)
	}
	program, err := os.ReadFile(p.kubelet())
	if err != nil {
		return &fault{"wrong", fmt.Errorf("%w, and kbuild said\n%s", err, indent(strings.Join(said, "")))}
	}
	if !bytes.Equal(program, p.want[t.edit]) {
		return &fault{"wrong", fmt.Errorf("the program, %d bytes, is not that of a build from nothing; kbuild said\n%s",
			len(program), indent(strings.Join(said, "")))}
	}
	held, err := p.holdings(ctx)
	if err != nil {
		return &fault{"stuck", err}
	}
	if held != p.held[t.image()] {
		return &fault{"wrong", fmt.Errorf("the image does not hold what it should: %q", held)}
	}
	return nil
}

// wanted is whether a program is one that was built.
func (p *power) wanted(program []byte) bool {
	for _, known := range p.want {
		if bytes.Equal(program, known) {
			return true
		}
	}
	return false
}
