package chroot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// streams are what a container's first process is started with, besides this
// process's standard input, output and error.
type streams struct {
	preserve []*os.File // for the command
	gate     *os.File   // read before the command is executed; nil: it is at once
	console  *os.File   // a socket for the terminal's other end; nil: there is none
	die      bool       // with the thread that starts it
}

// task is what the first process is told.
type task struct {
	Spec    *specs.Spec
	Gate    bool
	Console bool
	Die     bool
	Network bool // it is in a network namespace of its own
}

// begin starts a container's first process and returns when the container is
// made: its command runs, or waits at the gate.
func begin(spec *specs.Spec, s streams) (*exec.Cmd, error) {
	flags, err := cloneFlags(spec.Linux.Namespaces)
	if err != nil {
		return nil, err
	}
	tell, told, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer told.Close()
	answer, said, err := os.Pipe()
	if err != nil {
		tell.Close()
		return nil, err
	}
	defer answer.Close()

	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{initName, strconv.Itoa(len(s.preserve))}
	cmd.Env = []string{} // the command's is in its specification
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = append(slices.Clone(s.preserve), tell, said)
	for _, f := range []*os.File{s.gate, s.console} {
		if f != nil {
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		}
	}
	// In a session of its own the command has no terminal but one that it is
	// given: into the user's it could write what his shell takes for typed, see
	// TIOCSTI in ioctl_tty(2).
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Setsid: true}
	if s.die {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	err = cmd.Start()
	tell.Close()
	said.Close()
	if err != nil {
		return nil, fmt.Errorf("make the container's namespaces: %w", err)
	}
	t := task{
		Spec: spec, Gate: s.gate != nil, Console: s.console != nil, Die: s.die,
		Network: flags&unix.CLONE_NEWNET != 0,
	}
	err = json.NewEncoder(told).Encode(t)
	told.Close()
	if err == nil {
		err = await(answer)
	}
	if err != nil {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // what it said is the error
		return nil, err
	}
	return cmd, nil
}

// await waits until the first process has executed the command, or waits at the
// gate: then its end of the pipe is closed. What it writes is an error.
func await(answer io.Reader) error {
	said, err := io.ReadAll(io.LimitReader(answer, 1<<16))
	if err != nil {
		return fmt.Errorf("make the container: %w", err)
	}
	text, made := strings.CutPrefix(string(said), ready)
	switch {
	case text != "":
		return errors.New(text)
	case !made:
		return errors.New("the container's first process ended before the container was made")
	}
	return nil
}

// ready is what the first process says when all is done but executing the
// command, which may still fail.
const ready = "ready"

func cloneFlags(namespaces []specs.LinuxNamespace) (uintptr, error) {
	known := map[specs.LinuxNamespaceType]uintptr{
		specs.PIDNamespace:     unix.CLONE_NEWPID,
		specs.NetworkNamespace: unix.CLONE_NEWNET, specs.MountNamespace: unix.CLONE_NEWNS,
		specs.IPCNamespace: unix.CLONE_NEWIPC,
		specs.UTSNamespace: unix.CLONE_NEWUTS, specs.CgroupNamespace: unix.CLONE_NEWCGROUP,
	}
	// Without these two nothing here keeps its promise.
	flags := uintptr(unix.CLONE_NEWPID | unix.CLONE_NEWNS)
	for _, ns := range namespaces {
		flag, ok := known[ns.Type]
		switch {
		case !ok:
			return 0, fmt.Errorf("a %s namespace is not supported", ns.Type)
		case ns.Path != "":
			return 0, fmt.Errorf("joining the %s namespace %s is not supported", ns.Type, ns.Path)
		}
		flags |= flag
	}
	return flags, nil
}
