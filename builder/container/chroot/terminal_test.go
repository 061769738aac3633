package chroot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// openPTY opens a new terminal: the side of who sits at it, and the programs'.
func openPTY(t *testing.T) (user, programs *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	programs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { programs.Close() })
	return user, programs
}

// A container without a terminal does not have that of whoever started it, not
// even by the name under which every process finds its own.
func TestRunHasNotTheUsersTerminal(t *testing.T) {
	for name, test := range map[string]struct {
		terminal bool
		script   string
	}{
		"without a terminal": {false, "cat /dev/tty 2>&1 | grep -q 'No such device or address' && exit 7"},
		"with its own":       {true, "test -t 0 && : </dev/tty && test \"$(tty)\" = /dev/pts/0 && exit 7"},
	} {
		t.Run(name, func(t *testing.T) {
			_, programs := openPTY(t)
			dir := bundle(t, func(s *specs.Spec) {
				s.Process.Args[2], s.Process.Terminal = test.script, test.terminal
			})
			cmd := host{}.start(dir, "run", "--bundle", dir, "c1")
			if test.terminal {
				cmd.Stdin, cmd.Stdout = programs, programs
			}
			cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, true, 3
			cmd.ExtraFiles = []*os.File{programs}
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
				t.Errorf("%s: %v, want status 7", test.script, err)
			}
		})
	}
}
