package chroot

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/kbuild/kbuild/storage/files/filestest"
	"github.com/opencontainers/runtime-spec/specs-go"
)

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
			_, programs := filestest.Terminal(t)
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
