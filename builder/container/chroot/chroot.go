// Package chroot runs containers on hosts where no OCI runtime starts one: in a
// container or pod whose /proc is masked, or where none is installed. It is an
// OCI runtime itself, of the few commands and the part of the specification
// that buildah and this program use, so that whoever runs a container runs it
// in one way whatever the host has.
//
// It separates by namespaces, capabilities and the seccomp filter. What runc
// has and it lacks: cgroups, AppArmor and SELinux labels, and a /proc and /sys
// of the container's own where the kernel refuses to mount them; then those of
// the host are bound, as much of them as the host shows, read-only where the
// specification says so.
package chroot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Name is the base name of argv[0] under which this program is the runtime,
// and initName that of the container's first process before it executes the
// command.
const (
	Name     = "kbuild-chroot"
	initName = "kbuild-chroot-init"
)

// Main is the runtime. It returns false, having done nothing, if this process
// was not started as that; otherwise the process is to exit with the status.
// It is called first thing in main.
func Main() (status int, ok bool) {
	switch filepath.Base(os.Args[0]) {
	case Name:
		return command(os.Args[1:]), true
	case initName:
		return initMain(), true
	}
	return 0, false
}

// Link makes, in a directory, the path by which this program is started as the
// runtime, and returns it.
func Link(dir string) (string, error) {
	file := filepath.Join(dir, Name)
	// The link is resolved by the process that executes it, which is always
	// this program.
	if err := os.Symlink("/proc/self/exe", file); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make the path of the chroot runtime: %w", err)
	}
	return file, nil
}

// invocation is a command line: those of runc that buildah and kbuild write.
type invocation struct {
	root, log                string // of all commands
	bundle, pidFile, console string
	preserve                 int
	verb, id, signal         string
}

// flags are the options that take a value; the others are passed over.
func (inv *invocation) flags() map[string]*string {
	return map[string]*string{
		"--root": &inv.root, "--log": &inv.log, "--bundle": &inv.bundle, "-b": &inv.bundle,
		"--pid-file": &inv.pidFile, "--console-socket": &inv.console,
	}
}

func parse(args []string) (invocation, error) {
	inv := invocation{bundle: "."}
	var format, preserve string
	values := inv.flags()
	values["--log-format"], values["--preserve-fds"] = &format, &preserve
	var words []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if !strings.HasPrefix(arg, "-") {
			words = append(words, arg)
			continue
		}
		name, value, given := strings.Cut(arg, "=")
		to, takes := values[name]
		if !takes {
			continue
		}
		if !given {
			if len(args) == 0 {
				return inv, fmt.Errorf("option %s has no value", name)
			}
			value, args = args[0], args[1:]
		}
		*to = value
	}
	if preserve != "" {
		n, err := strconv.Atoi(preserve)
		if err != nil || n < 0 || n > 100 {
			return inv, fmt.Errorf("option --preserve-fds: %q is not a small number", preserve)
		}
		inv.preserve = n
	}
	if len(words) < 2 || len(words) > 3 {
		return inv, fmt.Errorf("want a command and a container, got %q", words)
	}
	inv.verb, inv.id = words[0], words[1]
	if len(words) == 3 {
		inv.signal = words[2]
	}
	if inv.id != filepath.Base(inv.id) || strings.HasPrefix(inv.id, ".") {
		return inv, fmt.Errorf("%q is not a container's id", inv.id)
	}
	if inv.root == "" {
		return inv, errors.New("no directory for the state of containers is given")
	}
	return inv, nil
}

// command does one command and returns its exit status.
func command(args []string) int {
	inv, err := parse(args)
	status := 0
	if err == nil {
		err = namespace.CloseOnExec(firstFD + inv.preserve)
	}
	if err == nil {
		switch inv.verb {
		case "run":
			status, err = inv.run()
		case "create":
			err = inv.create()
		case "start":
			err = inv.start()
		case "state":
			err = inv.state(os.Stdout)
		case "kill":
			err = inv.kill()
		case "delete":
			err = inv.remove()
		default:
			err = fmt.Errorf("unknown command %q", inv.verb)
		}
	}
	if err != nil {
		inv.complain(err)
		return 1
	}
	return status
}

// complain writes an error where runc writes its own: into the log, if there is
// one, in the form of its --log-format json.
func (inv invocation) complain(err error) {
	if inv.log == "" {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Name, err)
		return
	}
	line, _ := json.Marshal(map[string]string{ //nolint:errcheck // strings
		"level": "error", "msg": err.Error(), "time": time.Now().Format(time.RFC3339),
	})
	log, errLog := os.OpenFile(inv.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if errLog != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Name, err)
		return
	}
	defer log.Close()
	log.Write(append(line, '\n')) //nolint:errcheck // there is no other place for it
}

// record is what one command tells the next of a container.
type record struct {
	Pid    int    `json:"pid"`
	Bundle string `json:"bundle"`
	// Started says that the command was told to begin.
	Started bool `json:"started"`
}

func (inv invocation) dir() string  { return filepath.Join(inv.root, inv.id) }
func (inv invocation) fifo() string { return filepath.Join(inv.dir(), "start") }

func (inv invocation) read() (record, error) {
	data, err := os.ReadFile(filepath.Join(inv.dir(), "state.json"))
	if err != nil {
		return record{}, fmt.Errorf("container %s: %w", inv.id, err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("container %s: %w", inv.id, err)
	}
	return r, nil
}

func (inv invocation) write(r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("container %s: %w", inv.id, err)
	}
	temporary := filepath.Join(inv.dir(), "state.new")
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("container %s: %w", inv.id, err)
	}
	return os.Rename(temporary, filepath.Join(inv.dir(), "state.json"))
}

// spec reads the bundle's configuration.
func (inv invocation) spec() (*specs.Spec, error) {
	data, err := os.ReadFile(filepath.Join(inv.bundle, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("read the container's configuration: %w", err)
	}
	spec := new(specs.Spec)
	if err := json.Unmarshal(data, spec); err != nil {
		return nil, fmt.Errorf("read the container's configuration: %w", err)
	}
	switch {
	case spec.Root == nil || spec.Process == nil || spec.Linux == nil || len(spec.Process.Args) == 0:
		return nil, errors.New("the container's configuration has no root, process or linux part")
	case len(spec.Linux.UIDMappings) > 0 || len(spec.Linux.GIDMappings) > 0:
		return nil, errors.New("the container's configuration wants a user namespace of its own")
	}
	if !filepath.IsAbs(spec.Root.Path) {
		if spec.Root.Path, err = filepath.Abs(filepath.Join(inv.bundle, spec.Root.Path)); err != nil {
			return nil, fmt.Errorf("root of the container: %w", err)
		}
	}
	return spec, nil
}

// create makes a container whose first process waits for start. Whoever started
// this command becomes, as a subreaper, that process's parent.
func (inv invocation) create() error {
	spec, err := inv.spec()
	if err != nil {
		return err
	}
	if spec.Process.Terminal {
		return errors.New("create makes no terminal; run does")
	}
	if err := os.MkdirAll(inv.root, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(inv.dir(), 0o700); err != nil {
		return err
	}
	fail := func(err error) error { return errors.Join(err, os.RemoveAll(inv.dir())) }
	if err := unix.Mkfifo(inv.fifo(), 0o600); err != nil {
		return fail(fmt.Errorf("make %s: %w", inv.fifo(), err))
	}
	// Opened for both, reading it waits until somebody writes, whoever else has
	// it open.
	gate, err := os.OpenFile(inv.fifo(), os.O_RDWR, 0)
	if err != nil {
		return fail(err)
	}
	defer gate.Close()
	cmd, err := begin(spec, streams{gate: gate, preserve: inherited(inv.preserve)})
	if err != nil {
		return fail(err)
	}
	if err := inv.write(record{Pid: cmd.Process.Pid, Bundle: inv.bundle}); err != nil {
		cmd.Process.Kill() //nolint:errcheck // the error is told
		return fail(err)
	}
	if inv.pidFile != "" {
		if err := os.WriteFile(inv.pidFile, []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
			cmd.Process.Kill() //nolint:errcheck // the error is told
			return fail(err)
		}
	}
	return nil
}

func (inv invocation) start() error {
	r, err := inv.read()
	if err != nil {
		return err
	}
	gate, err := os.OpenFile(inv.fifo(), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("container %s is not waiting to be started: %w", inv.id, err)
	}
	defer gate.Close()
	if _, err := gate.Write([]byte{1}); err != nil {
		return fmt.Errorf("start container %s: %w", inv.id, err)
	}
	r.Started = true
	return inv.write(r)
}

func (inv invocation) state(w io.Writer) error {
	r, err := inv.read()
	if err != nil {
		return err
	}
	state := specs.State{Version: "1.0.2", ID: inv.id, Status: specs.StateRunning, Pid: r.Pid, Bundle: r.Bundle}
	if !r.Started {
		state.Status = specs.StateCreated
	}
	if ended(r.Pid) {
		state.Status, state.Pid = specs.StateStopped, 0
	}
	return json.NewEncoder(w).Encode(state)
}

// ended reports whether a process has ended, also where nobody waited for it: an
// init that reaps no orphans leaves them there for ever, and kill(2) finds them.
// It does not look into /proc, which may be that of another PID namespace.
func ended(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return unix.Kill(pid, 0) != nil
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

func (inv invocation) kill() error {
	r, err := inv.read()
	if err != nil {
		return err
	}
	signal := unix.SIGTERM
	if name := strings.ToUpper(inv.signal); name != "" {
		if n, err := strconv.Atoi(name); err == nil {
			signal = unix.Signal(n)
		} else if signal = unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")); signal == 0 {
			return fmt.Errorf("unknown signal %q", inv.signal)
		}
	}
	if err := unix.Kill(r.Pid, signal); err != nil {
		return fmt.Errorf("kill container %s: %w", inv.id, err)
	}
	return nil
}

func (inv invocation) remove() error {
	if r, err := inv.read(); err == nil {
		// The first process takes all others of its PID namespace with it.
		unix.Kill(r.Pid, unix.SIGKILL) //nolint:errcheck // it may have ended
	}
	return os.RemoveAll(inv.dir())
}

// run makes a container, waits for the end of its command, and returns its
// status: 128 and the signal's number when a signal ended it.
func (inv invocation) run() (status int, err error) {
	spec, err := inv.spec()
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(inv.root, 0o700); err != nil {
		return 0, err
	}
	if err := os.Mkdir(inv.dir(), 0o700); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(inv.dir())) }()
	// The parent death signal belongs to the thread that starts the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := streams{preserve: inherited(inv.preserve), die: true}
	var term *terminal
	if spec.Process.Terminal {
		if term, err = openTerminal(); err != nil {
			return 0, err
		}
		defer term.close()
		s.console = term.remote
	}
	cmd, err := begin(spec, s)
	if err != nil {
		return 0, err
	}
	if err := inv.write(record{Pid: cmd.Process.Pid, Bundle: inv.bundle, Started: true}); err != nil {
		cmd.Process.Kill() //nolint:errcheck // the error is told
		return 0, err
	}
	if term != nil {
		if err := term.connect(); err != nil {
			cmd.Process.Kill() //nolint:errcheck // the error is told
			return 0, err
		}
	}
	state, err := cmd.Process.Wait()
	if err != nil {
		return 0, fmt.Errorf("wait for the container: %w", err)
	}
	if term != nil {
		term.drain()
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return state.ExitCode(), nil
}

// inherited are the descriptors after standard error that the container's
// command is to have.
func inherited(n int) []*os.File {
	var list []*os.File
	for i := range n {
		list = append(list, os.NewFile(uintptr(3+i), "preserved"))
	}
	return list
}
