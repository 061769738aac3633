package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runClock has the clock be wrong while a command runs, ended or killed, and right
// again before the next: kbuild compiles the other program meanwhile. No clock is set,
// which would be everybody's here: the disk is made what such a run leaves, afterwards.
// Times that kbuild writes into files stay what they were.
func runClock(ctx context.Context, s *soak) error {
	if _, err := exec.LookPath("debugfs"); err != nil {
		return fmt.Errorf("change times on a disk: %w", err)
	}
	return s.blows(ctx, func(p *power, t step, moment time.Duration) (string, error) {
		off := time.Duration(1+p.Int63n([]int64{4, 2 * 3600, 30 * 24 * 3600}[p.Intn(3)])) * time.Second
		if p.Intn(2) == 0 {
			off = -off
		}
		what, since := fmt.Sprintf("a clock off by %v", off), time.Now()
		// compile alone takes the sources of the image that there is.
		edits := t.name != "compile"
		if edits {
			if err := p.edit(p.tree(), !t.edit); err != nil {
				return what, err
			}
		}
		killed := p.Intn(4) == 0
		if !killed {
			moment = patience
		}
		cmd, said, ended, err := p.started(t, moment)
		if err != nil {
			return what, err
		}
		if killed {
			what += ", killed"
			cmd.Process.Kill() //nolint:errcheck // it may have ended
		}
		if err := await(cmd, ended, said); err != nil {
			return what, err
		}
		if !killed && !cmd.ProcessState.Success() {
			return what, &fault{"stuck", fmt.Errorf("%v; it said\n%s", cmd.ProcessState, indent(said.String()))}
		}
		if err := p.shift(ctx, since, off); err != nil {
			return what, err
		}
		if !edits {
			return what, nil
		}
		return what, p.edit(p.tree(), t.edit)
	})
}

// shift adds to the times since a moment that the disk's files have, those of the
// kernel's as well, which no program can set on a mounted disk.
func (p *power) shift(ctx context.Context, since time.Time, by time.Duration) error {
	var script strings.Builder
	err := filepath.WalkDir(p.at, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t) //nolint:forcetypeassert // os says so
		for name, at := range map[string]unix.Timespec{"ctime": unix.Timespec(st.Ctim), "mtime": unix.Timespec(st.Mtim)} {
			if when := time.Unix(at.Unix()); when.After(since) {
				fmt.Fprintf(&script, "set_inode_field <%d> %s @%d\n", st.Ino, name, when.Add(by).Unix())
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.disk.unmount(); err != nil {
		return err
	}
	commands := filepath.Join(p.soak.dir, "times")
	if err := os.WriteFile(commands, []byte(script.String()), 0o600); err != nil {
		return err
	}
	if _, err := output(ctx, exec.Command("debugfs", "-w", "-f", commands, p.image)); err != nil {
		return err
	}
	return p.disk.mount(ctx, "noatime")
}
