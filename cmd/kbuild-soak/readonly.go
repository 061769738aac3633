package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runReadOnly has the file system become read-only, as it does by itself where it
// finds an error, and stay so for a while.
func runReadOnly(ctx context.Context, s *soak) error {
	return s.blows(ctx, func(p *power, t step, moment time.Duration) (string, error) {
		const what = "the file system became read-only"
		if _, err := output(ctx, exec.Command("mount", "-o", "remount,errors=remount-ro", p.at)); err != nil {
			return what, err
		}
		cmd, said, ended, err := p.started(t, moment)
		if err != nil {
			return what, err
		}
		if err := p.disk.damage(); err != nil {
			return what, err
		}
		if err := await(cmd, ended, said); err != nil {
			return what, err
		}
		if err := named(cmd.ProcessState.ExitCode(), said.String()); err != nil {
			return what, err
		}
		for _, args := range [][]string{t.args(p), {"clean"}, {"prune"}, {"images"}, {"fsck"}} {
			out, err := p.kbuild(ctx, args...)
			var exit *exec.ExitError
			switch {
			case errors.As(err, &exit):
				err = named(exit.ExitCode(), out)
			case err == nil && !slices.Equal(args, t.args(p)):
				err = nil // it may have had nothing to write
			case err == nil:
				err = &fault{"wrong", fmt.Errorf("kbuild %s wrote nothing, and has no error", strings.Join(args, " "))}
			case errors.Is(err, errStuck):
				err = &fault{"stuck", err}
			}
			if err != nil {
				return what, err
			}
		}
		// A boot later the disk can be written to again.
		if err := p.disk.unmount(); err != nil {
			return what, err
		}
		return what, p.disk.mount(ctx, "noatime")
	})
}

// named is the fault of a command that failed since its file system did, and does
// not say so. A command that was done before has status 0.
func named(status int, said string) error {
	told := strings.Contains(said, unix.EROFS.Error()) || strings.Contains(said, unix.EIO.Error())
	if status == 0 || status > 0 && told && !strings.Contains(said, "goroutine ") {
		return nil
	}
	return &fault{"wrong", fmt.Errorf("exit status %d; it said\n%s", status, indent(said))}
}

// damage has the file system find an error: who writes to trigger_fs_error
// has ext4 report one, see trigger_test_error in the kernel's fs/ext4/sysfs.c.
func (d *disk) damage() error {
	var st unix.Stat_t
	if err := unix.Stat(d.at, &st); err != nil {
		return err
	}
	device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(filepath.Base(device), "loop") {
		return fmt.Errorf("%s is not on a loop device but on %s", d.at, device)
	}
	return os.WriteFile(filepath.Join("/sys/fs/ext4", filepath.Base(device), "trigger_fs_error"), []byte("1"), 0)
}
