// Package namespace starts this program again as a worker that has what a user
// without root lacks: a user namespace in which he is root, and mount, PID and,
// if asked for, network namespaces. It hands the worker one request and knows
// nothing of what is in it.
package namespace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/containers/storage/pkg/reexec"
	"github.com/containers/storage/pkg/unshare"
	"golang.org/x/sys/unix"
)

// A Worker does what must happen inside the namespaces. It gets the request
// that [Enter] was given, for [Unmarshal], and the files, and returns its exit status. Its
// context ends when the outer process asks it to stop, or is gone.
type Worker func(ctx context.Context, request json.RawMessage, files []*os.File) (status int)

// Options say what the worker has for itself, besides a user namespace
// (without root), a mount namespace and a PID namespace, which it always has.
type Options struct {
	// Network is an own network namespace with nothing but loopback.
	Network bool
}

const (
	middleName = "kbuild-namespace" // argv[0] between the user namespace and the worker
	workerName = "kbuild-worker"    // argv[0] of the worker
	idleName   = "kbuild-idle"      // argv[0] of a process that only is there
	controlFD  = 3                  // the request, then silence until the outer process wants an end
	grace      = 8 * time.Second    // for a container to stop after the worker was asked to
)

// Register tells which function is the worker. It is called first thing in
// main, before the library's own re-execution hook, since the worker is this
// program started again under another name.
func Register(work Worker) {
	if err := CloseOnExec(controlFD); err != nil {
		os.Exit(fail(fmt.Errorf("keep inherited files from what is started: %w", err)))
	}
	reexec.Register(idleName, func() { os.Exit(idle()) })
	reexec.Register(middleName, func() { os.Exit(middleMain()) })
	reexec.Register(workerName, func() { os.Exit(workerMain(work)) })
}

// Enter starts the worker in its namespaces, hands it the request (anything
// encoding/json takes, see [Marshal]) and the files, and returns its exit status. When ctx
// ends the worker is asked to stop, and killed with everything it started if
// it has not within some seconds. Should this process be killed, the kernel
// kills the worker, and with it, being the first process of its PID namespace,
// every process it started.
func Enter(ctx context.Context, own Options, request any, files ...*os.File) (status int, err error) {
	waiting := Begin(ctx, own, files...)
	defer waiting.Close()
	return waiting.Do(request)
}

// A Waiting is a worker that has no request yet.
type Waiting struct {
	request chan []byte
	done    chan struct{}
	// What came of it, once done is closed.
	status int
	err    error
	// lost is what the worker does without, once begun is closed.
	begun chan struct{}
	lost  string
}

// Lost waits until the worker is started and says what it does without, of what
// [Mappings] promised; "" when nothing.
func (w *Waiting) Lost() string {
	select {
	case <-w.begun:
	case <-w.done:
	}
	return w.lost
}

// Begin is [Enter] in two: the worker is started at once, so that its
// namespaces are made while the caller finds out what to ask for. The caller
// has to call Close. Why it could not be started is for Do to say.
func Begin(ctx context.Context, own Options, files ...*os.File) *Waiting {
	w := &Waiting{request: make(chan []byte, 1), done: make(chan struct{}), begun: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.status, w.err = w.enter(ctx, own, files)
	}()
	return w
}

// Do hands the worker its request, the only one, and waits for its exit status.
func (w *Waiting) Do(request any) (status int, err error) {
	data, err := Marshal(request)
	if err != nil {
		return 0, fmt.Errorf("encode the worker's request: %w", err)
	}
	// A number has no end of its own, and the pipe ends only with the run.
	w.request <- append(data, '\n')
	<-w.done
	return w.status, w.err
}

// Close ends a worker that was given no request.
func (w *Waiting) Close() {
	close(w.request)
	<-w.done
}

func (w *Waiting) enter(ctx context.Context, own Options, files []*os.File) (status int, err error) {
	control, feed, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("start the worker: %w", err)
	}
	defer feed.Close()
	extra := append([]*os.File{control}, files...)

	// The parent death signal belongs to the thread that starts the child. So
	// does the session keyring, which is therefore another one for all that is
	// started from here; with it this thread serves nothing else, and ends.
	runtime.LockOSThread()
	leaveSessionKeyring()
	cmd, lost, err := start(own, extra)
	control.Close()
	if err != nil {
		return 0, err
	}
	w.lost = lost
	close(w.begun)

	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-done:
			return
		case data, ok := <-w.request:
			if !ok {
				feed.Close() // the worker ends
				<-done
				return
			}
			go feed.Write(data) //nolint:errcheck // a worker that is gone is seen by Wait
		case <-ctx.Done():
		}
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		feed.Close()
		select {
		case <-done:
		case <-time.After(grace):
			cmd.Process.Kill() //nolint:errcheck // it may just have ended
		}
	}()
	err = cmd.Wait()
	close(done)
	<-stopped
	return exitStatus(err)
}

// start starts the worker, or the process that does.
func start(own Options, files []*os.File) (cmd *exec.Cmd, lost string, err error) {
	needed, err := Needed()
	if err != nil {
		return nil, "", err
	}
	if !needed {
		cmd, err = startWorker(own, files)
		return cmd, "", err
	}
	ids := Mappings()
	if cmd, err = startMiddle(own, ids, files); err != nil {
		return nil, "", err
	}
	return cmd, fewer(cmd.Process.Pid, ids), nil
}

// leaveSessionKeyring gives this thread, and what it starts, an empty session
// keyring in the place of the user's, which holds Kerberos tickets and the like,
// see session-keyring(7). Where there are no keys, or a filter keeps them from
// this process, they are kept from a container, too.
func leaveSessionKeyring() {
	unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) //nolint:errcheck // see above
}

// exitStatus tells a worker's exit status from the error of Wait.
func exitStatus(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), nil
	case errors.As(err, &exit):
		sig := exit.Sys().(syscall.WaitStatus).Signal()
		return 128 + int(sig), fmt.Errorf("the worker process was ended by a signal: %v", sig)
	}
	return 0, fmt.Errorf("run the worker: %w", err)
}

// startMiddle starts the process that lives in the new user and mount
// namespaces and starts the worker. It cannot be the worker itself: Go is
// multithreaded, and the kernel puts only children into a new PID namespace.
func startMiddle(own Options, ids IDMappings, files []*os.File) (*exec.Cmd, error) {
	cmd := unshare.Command(middleName, strconv.Itoa(len(files)), strconv.FormatBool(own.Network))
	cmd.UnshareFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.UidMappings, cmd.GidMappings = ids.UID, ids.GID
	cmd.UseNewuidmap, cmd.UseNewgidmap = !ids.Direct, !ids.Direct
	cmd.GidMappingsEnableSetgroups = !ids.Single
	cmd.Env = append(environment(), SurroundingsVariable+"="+Surroundings())
	if os.Geteuid() == 0 {
		// The library takes uid 0 for real root unless told otherwise.
		cmd.Env = append(cmd.Env, unshare.UsernsEnvName+"=done")
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("enter a user namespace: %w", err)
	}
	return cmd.Cmd, nil
}

// middleMain is the process between: it waits for the worker and passes its
// status on. Signals are the outer process's business.
func middleMain() int {
	disregardSignals()
	if len(os.Args) != 3 {
		return fail(fmt.Errorf("%s is not a command", middleName))
	}
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return fail(fmt.Errorf("%s: %w", middleName, err))
	}
	files := make([]*os.File, n)
	for i := range files {
		files[i] = os.NewFile(uintptr(controlFD+i), "inherited")
	}
	runtime.LockOSThread()
	cmd, err := startWorker(Options{Network: os.Args[2] == "true"}, files)
	if err != nil {
		return fail(err)
	}
	for _, f := range files {
		f.Close()
	}
	status, err := exitStatus(cmd.Wait())
	if err != nil {
		return fail(err)
	}
	return status
}

// startWorker starts the worker in a mount and a PID namespace of its own, and
// returns when it has prepared them.
func startWorker(own Options, files []*os.File) (*exec.Cmd, error) {
	flags := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWPID)
	if own.Network {
		flags |= unix.CLONE_NEWNET
	}
	ready, report, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the worker: %w", err)
	}
	defer ready.Close()
	cmd := reexec.Command(workerName, strconv.Itoa(len(files)), strconv.FormatUint(uint64(flags), 10))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = append(append([]*os.File(nil), files...), report)
	cmd.Env = append(os.Environ(), SurroundingsVariable+"="+Surroundings())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	report.Close()
	if err != nil {
		return nil, fmt.Errorf("start the worker: %w", err)
	}
	if n, _ := ready.Read(make([]byte, 1)); n == 0 {
		cmd.Wait() //nolint:errcheck // it has said why
		return nil, errors.New("start the worker: it ended before it was ready")
	}
	return cmd, nil
}

// workerMain prepares the namespaces and calls the worker.
func workerMain(work Worker) int {
	// The terminal's Ctrl-C reaches every process of the group; the worker
	// stops when the outer process says so.
	disregardSignals()
	if len(os.Args) != 3 {
		return fail(fmt.Errorf("%s is not a command", workerName))
	}
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return fail(fmt.Errorf("%s: %w", workerName, err))
	}
	flags, err := strconv.ParseUint(os.Args[2], 10, 64)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", workerName, err))
	}
	if err := prepare(uintptr(flags)); err != nil {
		return fail(err)
	}
	report := os.NewFile(uintptr(controlFD+n), "report")
	report.Write([]byte{1}) //nolint:errcheck // a parent that is gone has our death signal set
	report.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	control := json.NewDecoder(os.NewFile(controlFD, "control"))
	var request json.RawMessage
	if err := control.Decode(&request); errors.Is(err, io.EOF) {
		return 0 // there is nothing to do
	} else if err != nil {
		return fail(fmt.Errorf("read the worker's request: %w", err))
	}
	go func() {
		var rest json.RawMessage
		if err := control.Decode(&rest); errors.Is(err, io.EOF) {
			cancel()
		}
	}()
	files := make([]*os.File, n-1)
	for i := range files {
		unix.CloseOnExec(controlFD + 1 + i)
		files[i] = os.NewFile(uintptr(controlFD+1+i), "inherited")
	}
	unix.CloseOnExec(controlFD)
	return work(ctx, request, files)
}

// prepare makes the fresh namespaces usable: mounts stay inside, /proc shows
// the own processes, loopback is up. In a container that hides parts of /proc
// the kernel refuses a fresh one (mount_too_revealing in fs/namespace.c); the
// one that is there shows these processes with the numbers they have outside,
// and /proc/self is right.
func prepare(flags uintptr) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts inside the mount namespace: %w", err)
	}
	if flags&unix.CLONE_NEWPID != 0 {
		err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		if err != nil && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("mount /proc of the worker's processes: %w", err)
		}
	}
	if flags&unix.CLONE_NEWNET != 0 {
		return LoopbackUp()
	}
	return nil
}

// disregardSignals takes the terminal's signals and drops them. They are not
// set to be ignored, because what is started would inherit that, down to the
// commands in the container.
func disregardSignals() {
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
}

// fail reports an error of the processes between, where no other code could.
func fail(err error) int {
	fmt.Fprintf(os.Stderr, "kbuild: %v\n", err)
	return 125
}
