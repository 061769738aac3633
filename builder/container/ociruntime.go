package container

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// run runs a container with the runtime, which is started once: it creates the
// container, waits for its end and deletes it. buildah's Run does the same in
// five starts of this program and four of the runtime, a third of a second in
// which nothing is compiled. It returns what the wrapper wrote, see wrap.
//
// The error is the runtime's own, or that the container's command did not end
// with status 0. When ctx ends, the container is killed.
func (h Host) run(ctx context.Context, spec *specs.Spec, opts Options) (said []byte, err error) {
	program, err := h.program()
	if err != nil {
		return nil, err
	}
	bundle := filepath.Join(h.Dir, "bundle")
	if err := os.RemoveAll(bundle); err != nil {
		return nil, err
	}
	if err := os.Mkdir(bundle, 0o700); err != nil {
		return nil, err
	}
	config, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode the container's configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600); err != nil {
		return nil, err
	}
	report, end, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer report.Close()
	id := "kbuild-" + strings.ToLower(rand.Text())
	log := filepath.Join(bundle, "log")
	args := append(h.runtimeArgs(), "--log", log, "--log-format", "json", "run", "--bundle", bundle, "--preserve-fds", "1")
	if h.Isolation == IsolationRootless && filepath.Base(program) == "runc" {
		args = append(args, "--no-new-keyring") // the worker's is a new one already
	}
	cmd := exec.Command(program, append(args, id)...)
	cmd.Env = runtimeEnvironment()
	cmd.ExtraFiles = []*os.File{end}
	started := connect(cmd, opts)

	// The parent death signal belongs to the thread that starts the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Without a terminal of its own the container is not to reach the user's as
	// /dev/tty either: a session of its own has none, whatever the runtime does.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: !opts.Terminal}
	err = cmd.Start()
	end.Close()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	started()
	ended := make(chan struct{})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		if opts.Trial {
			killTrial(ctx, cmd.Process, ended)
		} else {
			h.killAtEnd(ctx, cmd.Process, program, id, ended)
		}
	}()
	err = cmd.Wait()
	close(ended)
	<-killed
	// Whoever could write to it has ended with the container.
	if err := report.SetReadDeadline(time.Now().Add(opts.linger())); err != nil {
		return nil, err
	}
	said, errRead := io.ReadAll(io.LimitReader(report, statusLimit))
	if errRead != nil {
		return nil, fmt.Errorf("read the command's status: %w", errRead)
	}
	if err == nil {
		return said, nil
	}
	if text := lastError(log); text != "" {
		return nil, errors.New(text)
	}
	return said, whyEnded(program, err)
}

// runtimeEnvironment is all a runtime gets of this process's: runc would mount
// the socket of NOTIFY_SOCKET into the container and pass as many further
// descriptors on as LISTEN_FDS says.
func runtimeEnvironment() []string { return []string{"PATH=" + os.Getenv("PATH")} }

// whyEnded tells what became of a container from how its runtime ended, which
// is with 128 and its number for a signal.
func whyEnded(program string, err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() <= 128 {
		return fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return &SignalError{syscall.Signal(exit.ExitCode() - 128)}
}

// A SignalError says that a signal ended a container.
type SignalError struct{ Signal syscall.Signal }

func (e *SignalError) Error() string { return fmt.Sprintf("a signal ended it: %v", e.Signal) }

// Killed reports whether it was SIGKILL.
func (e *SignalError) Killed() bool { return e.Signal == syscall.SIGKILL }

// lastError is the last error in a runtime's log.
func lastError(log string) string {
	data, err := os.ReadFile(log)
	if err != nil {
		return ""
	}
	said := ""
	for line := range bytes.Lines(data) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && entry.Level == "error" {
			said = entry.Msg
		}
	}
	return said
}

// connect connects a command with what the container reads and writes. Without a
// terminal of its own that goes through pipes: the user's is not for it to have.
// The function is for the time when the command was started.
func connect(cmd *exec.Cmd, opts Options) (started func()) {
	if opts.Terminal {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = opts.Stdin, opts.Stdout, opts.Stderr
		return func() {}
	}
	cmd.WaitDelay = opts.linger()
	// An *os.File would be handed over as it is.
	cmd.Stdout, cmd.Stderr = struct{ io.Writer }{opts.Stdout}, struct{ io.Writer }{opts.Stderr}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return func() {} // there are no more files: the start says so
	}
	return func() {
		// Nobody waits for this: input may never end.
		go func() {
			io.Copy(stdin, opts.Stdin) //nolint:errcheck // a command need not read all
			stdin.Close()
		}()
	}
}

// linger is for how long what a runtime leaves behind may keep pipes open.
func (o Options) linger() time.Duration {
	if o.Trial {
		return time.Second
	}
	return 5 * time.Second
}

// killTrial kills a runtime, and what it started in its session, when ctx ends:
// one that hangs would not kill its container either.
func killTrial(ctx context.Context, process *os.Process, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
		unix.Kill(-process.Pid, unix.SIGKILL) //nolint:errcheck // it may just have ended
	case <-ended:
	}
}

// killAtEnd kills the container when ctx ends. It may just be coming into
// being, so that is tried until the runtime has ended; one that does not react
// is killed itself, and the container with it.
func (h Host) killAtEnd(ctx context.Context, process *os.Process, program, id string, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-ended:
		return
	}
	for attempt := 1; ; attempt++ {
		bounded, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		kill := exec.CommandContext(bounded, program, append(h.runtimeArgs(), "kill", id, "KILL")...)
		kill.Env = runtimeEnvironment()
		kill.WaitDelay = time.Second
		if out, err := kill.CombinedOutput(); err != nil {
			logger().Debugf("kill the container: %v: %s", err, bytes.TrimSpace(out))
		}
		cancel()
		select {
		case <-ended:
			return
		case <-time.After(200 * time.Millisecond):
		}
		if attempt >= 10 {
			process.Kill() //nolint:errcheck // it may just have ended
		}
	}
}
