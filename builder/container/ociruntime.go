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
)

// run runs a container with the OCI runtime, which is started once: it creates
// the container, waits for its end and deletes it. buildah's Run does the same
// in five starts of this program and four of the runtime, a third of a second
// in which nothing is compiled.
//
// The error is the runtime's own, or that the container's command did not end
// with status 0. When ctx ends, the container is killed.
func (h Host) run(ctx context.Context, spec *specs.Spec, opts Options) error {
	bundle := filepath.Join(h.Dir, "bundle")
	if err := os.RemoveAll(bundle); err != nil {
		return err
	}
	if err := os.Mkdir(bundle, 0o700); err != nil {
		return err
	}
	config, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("encode the container's configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600); err != nil {
		return err
	}
	id := "kbuild-" + strings.ToLower(rand.Text())
	log := filepath.Join(bundle, "log")
	args := append(h.runtimeArgs(), "--log", log, "--log-format", "json", "run", "--bundle", bundle)
	if h.Isolation == IsolationRootless {
		args = append(args, "--no-new-keyring")
	}
	cmd := exec.Command(h.Runtime, append(args, id)...)
	started := connect(cmd, opts)

	// The parent death signal belongs to the thread that starts the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", h.Runtime, err)
	}
	started()
	ended := make(chan struct{})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		h.killAtEnd(ctx, id, ended)
	}()
	err = cmd.Wait()
	close(ended)
	<-killed
	if err == nil {
		return nil
	}
	if said := lastError(log); said != "" {
		return errors.New(said)
	}
	return whyEnded(h.Runtime, err)
}

// whyEnded tells what became of a container from how its runtime ended, which
// is with 128 and its number for a signal.
func whyEnded(runtime string, err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() <= 128 {
		return fmt.Errorf("%s: %w", filepath.Base(runtime), err)
	}
	signal := syscall.Signal(exit.ExitCode() - 128)
	err = fmt.Errorf("a signal ended it: %v", signal)
	if signal == syscall.SIGKILL {
		err = withHint(err, "the kernel does that where memory runs out; its log (dmesg) tells")
	}
	return err
}

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

// killAtEnd kills the container when ctx ends. It may just be coming into
// being, so that is tried until the runtime has ended.
func (h Host) killAtEnd(ctx context.Context, id string, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-ended:
		return
	}
	for {
		kill := exec.Command(h.Runtime, append(h.runtimeArgs(), "kill", id, "KILL")...)
		if out, err := kill.CombinedOutput(); err != nil {
			logger().Debugf("kill the container: %v: %s", err, bytes.TrimSpace(out))
		}
		select {
		case <-ended:
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}
