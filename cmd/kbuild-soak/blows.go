package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The parts beside the power: each begins a round with the disk as it was after
// a rehearsed step, does something to kbuild or to its disk, and then asks the
// next run for what every run has to give.

// A stage is a disk with the pictures of a rehearsal.
func (s *soak) stage(ctx context.Context) (*power, error) {
	if s.rehearsed != nil {
		return s.rehearsed, nil
	}
	d, err := newDisk(ctx, s.dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDisk, err)
	}
	p := &power{
		soak: s, disk: d, place: place{s, d.at},
		bundle: filepath.Join(s.dir, "bundle.tar"), pictures: filepath.Join(s.dir, "pictures"),
		took: map[string]time.Duration{}, want: map[bool][]byte{}, held: map[string]string{},
	}
	if err := os.Mkdir(p.pictures, 0o755); err != nil {
		return nil, err
	}
	if err := p.rehearse(ctx); err != nil {
		return nil, fmt.Errorf("rehearse: %w", err)
	}
	s.rehearsed = p
	return p, nil
}

// chosen are the steps to do things to.
func (s *soak) chosen() []step {
	if len(s.only) == 0 {
		return steps
	}
	return slices.DeleteFunc(slices.Clone(steps), func(t step) bool { return !slices.Contains(s.only, t.name) })
}

// started runs a step's command until a moment comes, or it ends.
func (p *power) started(t step, moment time.Duration) (cmd *exec.Cmd, said *bytes.Buffer, ended chan error, err error) {
	said = new(bytes.Buffer)
	cmd = p.command(t.args(p)...)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return nil, nil, nil, err
	}
	ended = make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		ended <- err
	case <-time.After(moment):
	}
	return cmd, said, ended, nil
}

// await waits for the end of a command that was told to end. It is stuck where
// that takes longer than patience.
func await(cmd *exec.Cmd, ended chan error, said *bytes.Buffer) error {
	select {
	case <-ended:
		return nil
	case <-time.After(patience):
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		<-ended
		return &fault{"stuck", fmt.Errorf("%w; it said\n%s", errStuck, indent(said.String()))}
	}
}

// blows does something in each round, to each of the steps in turn. The disk is
// mounted before, and the next run asked afterwards.
func (s *soak) blows(
	ctx context.Context, blow func(p *power, t step, moment time.Duration) (what string, err error),
) error {
	p, err := s.stage(ctx)
	if err != nil {
		return err
	}
	for n := range s.rounds {
		t := s.chosen()[n%len(s.chosen())]
		if err := p.begin(ctx, t, "noatime"); err != nil {
			return err
		}
		moment := time.Duration(p.Int63n(int64(p.took[t.name])))
		what, err := blow(p, t, moment)
		if err == nil {
			err = p.judge(ctx, t)
		}
		if e := p.disk.unmount(); e != nil {
			return errors.Join(err, e)
		}
		where := fmt.Sprintf("round %d: %s, %.2f s into %s of %.2f s", n, what, moment.Seconds(), t.name,
			p.took[t.name].Seconds())
		if err := p.verdict(where, err); err != nil {
			return err
		}
		if s.keep && s.faults > 0 || ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// runKill kills kbuild, and some of the time only one of its processes.
func runKill(ctx context.Context, s *soak) error {
	return s.blows(ctx, func(p *power, t step, moment time.Duration) (string, error) {
		cmd, said, ended, err := p.started(t, moment)
		if err != nil {
			return "", err
		}
		what, victim := "killed", cmd.Process.Pid
		if children := childrenOf(victim); len(children) > 0 && p.Intn(2) == 0 {
			what, victim = "its worker killed", children[0]
		}
		unix.Kill(victim, unix.SIGKILL) //nolint:errcheck // it may have ended
		return what, await(cmd, ended, said)
	})
}

// childrenOf lists the processes that a process started.
func childrenOf(pid int) []int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var list []int
	for _, field := range strings.Fields(string(data)) {
		var child int
		if _, err := fmt.Sscan(field, &child); err == nil {
			list = append(list, child)
		}
	}
	return list
}

// runSignal ends kbuild as a terminal, a service manager or a closed window do.
func runSignal(ctx context.Context, s *soak) error {
	return s.blows(ctx, func(p *power, t step, moment time.Duration) (string, error) {
		signal := []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP}[p.Intn(3)]
		cmd, said, ended, err := p.started(t, moment)
		if err != nil {
			return "", err
		}
		cmd.Process.Signal(signal) //nolint:errcheck // it may have ended
		if err := await(cmd, ended, said); err != nil {
			return signal.String(), err
		}
		if status := cmd.ProcessState.ExitCode(); status != 0 && status != 128+int(signal) {
			return signal.String(), &fault{"wrong", fmt.Errorf("exit status %d, not %d; it said\n%s", status,
				128+int(signal), indent(said.String()))}
		}
		return signal.String(), nil
	})
}

// runFailing has the file system fail, as it does where the disk does: ext4
// aborts its journal, and whatever is written gets an error.
func runFailing(ctx context.Context, s *soak) error {
	return s.blows(ctx, func(p *power, t step, moment time.Duration) (string, error) {
		const what = "the file system failed"
		cmd, said, ended, err := p.started(t, moment)
		if err != nil {
			return what, err
		}
		// "abort" of ext4(5): "Simulate the effects of calling ext4_abort() for
		// debugging purposes."
		if _, err := output(ctx, exec.Command("mount", "-o", "remount,abort", p.at)); err != nil {
			return what, err
		}
		if err := await(cmd, ended, said); err != nil {
			return what, err
		}
		if err := named(cmd.ProcessState.ExitCode(), said.String()); err != nil {
			return what, err
		}
		// A boot later the disk works again.
		if err := p.disk.unmount(); err != nil {
			return what, err
		}
		return what, p.disk.mount(ctx, "noatime")
	})
}

// runFull leaves the disk some room, and none for the rest; before the next run
// there is room again.
func runFull(ctx context.Context, s *soak) error {
	return s.blows(ctx, func(p *power, t step, _ time.Duration) (string, error) {
		var st unix.Statfs_t
		if err := unix.Statfs(p.at, &st); err != nil {
			return "", err
		}
		room := p.Int63n(256 << 20)
		what := fmt.Sprintf("%d MB free", room>>20)
		ballast, err := os.Create(filepath.Join(p.at, "ballast"))
		if err != nil {
			return what, err
		}
		defer ballast.Close()
		if err := unix.Fallocate(int(ballast.Fd()), 0, 0, max(1, int64(st.Bavail)*st.Bsize-room)); err != nil {
			return what, fmt.Errorf("fill the disk: %w", err)
		}
		cmd, said, ended, err := p.started(t, patience)
		if err != nil {
			return what, err
		}
		if err := await(cmd, ended, said); err != nil {
			return what, err
		}
		// A full disk is cleaned with what there is on it.
		if p.Intn(2) == 0 {
			what += ", cleaned"
			if _, err := p.kbuild(ctx, "clean"); err != nil {
				return what, &fault{"stuck", err}
			}
		}
		return what, os.Remove(ballast.Name())
	})
}

// runCorrupt spoils a file of what kbuild keeps for a tree that was built.
func runCorrupt(ctx context.Context, s *soak) error {
	return s.blows(ctx, func(p *power, t step, _ time.Duration) (string, error) {
		built := [][]string{everything(p)}
		if t.makes { // what the mirror has is another image
			built = [][]string{t.args(p), alone(p)}
		}
		for _, args := range built {
			if _, err := p.kbuild(ctx, args...); err != nil {
				return "", err
			}
		}
		var kept []string
		err := filepath.WalkDir(filepath.Join(p.at, "store", "kbuild"), func(file string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && d.Name() != "lock" {
				kept = append(kept, file)
			}
			return err
		})
		if err != nil {
			return "", err
		}
		file := kept[p.Intn(len(kept))]
		rel, err := filepath.Rel(p.at, file)
		if err != nil {
			return "", err
		}
		how, err := p.spoil(file)
		return how + " " + rel, err
	})
}

// spoil changes a file in one of the ways in which disks do.
func (s *soak) spoil(file string) (how string, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	switch s.Intn(4) {
	case 0:
		return "emptied", os.Truncate(file, 0)
	case 1:
		return "cut", os.Truncate(file, info.Size()/2)
	case 2:
		return "removed", os.Remove(file)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	at := s.Int63n(max(1, info.Size()))
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	if err == nil {
		b[0] ^= 1
		_, err = f.WriteAt(b, at)
	} else if info.Size() == 0 {
		err = nil
	}
	return "flipped", errors.Join(err, f.Close(), os.Chtimes(file, info.ModTime(), info.ModTime()))
}
