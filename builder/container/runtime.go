package container

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containers/buildah/define"
	"github.com/kbuild/kbuild/builder/container/chroot"
	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/namespace"
	"golang.org/x/sys/unix"
)

// Isolation is how a container is kept apart from the host, in the words of
// buildah's --isolation.
type Isolation string

const (
	IsolationOCI      Isolation = "oci"      // an OCI runtime, as root
	IsolationRootless Isolation = "rootless" // an OCI runtime, in the user's namespace
	IsolationChroot   Isolation = "chroot"   // kbuild's own runtime, see package chroot
)

// define is the isolation in buildah's terms. Its own chroot isolation is never
// used: with that of kbuild, buildah runs an OCI runtime as ever.
func (i Isolation) define() define.Isolation {
	if i == IsolationRootless || i == IsolationChroot && namespace.Rootless() {
		return define.IsolationOCIRootless
	}
	return define.IsolationOCI
}

// ParseIsolation reads the value of --isolation; "" lets [FindHost] choose.
func ParseIsolation(s string) (Isolation, error) {
	switch i := Isolation(s); i {
	case "", IsolationOCI, IsolationRootless, IsolationChroot:
		return i, nil
	}
	return "", fmt.Errorf("isolation %q: it is oci, rootless or chroot", s)
}

// Host says how containers are run here.
type Host struct {
	Isolation Isolation
	Runtime   string // path of an OCI runtime; "" is kbuild's own
	// Dir is for files that live as long as the run.
	Dir string
	// Kept is the cache directory that a trial was kept in by which this was
	// chosen; "" where nothing was kept, see [Host.Recheck].
	Kept string
}

// program is the path by which the runtime is started.
func (h Host) program() (string, error) {
	if h.Runtime == "" {
		return chroot.Link(h.Dir)
	}
	return h.Runtime, nil
}

// runtimeArgs keep the runtime's own state where kbuild removes it, also after
// a run that was killed.
func (h Host) runtimeArgs() []string {
	args := []string{"--root", filepath.Join(h.Dir, "runtime")}
	if h.Isolation == IsolationRootless && filepath.Base(h.Runtime) == "runc" {
		// runc takes who has all ids, as root of a container has, for real root,
		// and insists on cgroups then.
		args = append(args, "--rootless", "true")
	}
	return args
}

// Runtimes are the OCI runtimes looked for, in this order. runc comes first:
// the crun of Debian 12 and Ubuntu 22.04 rejects the specification version
// that buildah writes.
var runtimes = []string{"runc", "crun"}

// FindRuntimes lists the paths of the OCI runtimes in PATH or the directories
// where distributions put them, which an ordinary user's PATH lacks.
func FindRuntimes() []string {
	var found []string
	for _, name := range runtimes {
		if file, err := exec.LookPath(name); err == nil {
			if file, err = filepath.Abs(file); err == nil {
				found = append(found, file)
			}
			continue
		}
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/libexec", "/usr/local/bin", "/usr/bin"} {
			file := filepath.Join(dir, name)
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				found = append(found, file)
				break
			}
		}
	}
	return found
}

// Attempt is a runtime that was tried and what it answered.
type Attempt struct{ Runtime, Answer string }

// A NoRuntimeError says that no OCI runtime starts a container here.
type NoRuntimeError struct {
	Asked    Isolation // what was asked for; "" nothing
	Attempts []Attempt
}

func (e *NoRuntimeError) Error() string {
	text := "no OCI runtime starts a container here"
	if e.Asked != "" {
		text = fmt.Sprintf("isolation %s needs an OCI runtime that starts a container", e.Asked)
	}
	if len(e.Attempts) == 0 {
		text += ": neither runc nor crun is installed"
	}
	for _, a := range e.Attempts {
		text += fmt.Sprintf("\n  %s: %s", a.Runtime, a.Answer)
	}
	return text
}

// FindHost chooses how to run containers: asked if it is not "", otherwise the
// first OCI runtime that really starts a container. Where none does, kbuild's
// own runtime serves if walls stand around it already, those of a container or a
// pod; on a bare host only who asks for it gets it. Trying takes a moment, so
// the answers are kept in the cache directory, see [tried]. The attempts tell
// which runtimes did not start, and why.
func FindHost(ctx context.Context, asked Isolation, dir, cache string) (Host, []Attempt, error) {
	host := Host{Isolation: asked, Dir: dir}
	if asked == IsolationChroot {
		return host, nil, nil
	}
	if host.Isolation == "" {
		host.Isolation = IsolationOCI
		if namespace.Rootless() {
			host.Isolation = IsolationRootless
		}
	}
	// On a bare host a runtime that failed is tried again: who mended it is not
	// to be told that it fails.
	contained := namespace.InContainer()
	known := readTrials(cache)
	var attempts []Attempt
	for _, runtime := range FindRuntimes() {
		host.Runtime, host.Kept = runtime, ""
		trial, err := trialOf(runtime)
		if err != nil {
			attempts = append(attempts, Attempt{runtime, err.Error()})
			continue
		}
		if before, ok := known.find(trial); ok && (before.Answer == "" || contained && asked == "") {
			trial, host.Kept = before, cache
		} else {
			if err := Try(ctx, host, Patience); err != nil {
				if ctx.Err() != nil {
					return Host{}, nil, ctx.Err()
				}
				trial.Answer = err.Error()
			}
			if err := known.keep(cache, trial); err != nil {
				return Host{}, nil, fmt.Errorf("remember the runtime: %w", err)
			}
		}
		if trial.Answer == "" {
			return host, attempts, nil
		}
		attempts = append(attempts, Attempt{runtime, trial.Answer})
	}
	if asked != "" || !contained {
		return Host{}, attempts, &NoRuntimeError{Asked: asked, Attempts: attempts}
	}
	return Host{Isolation: IsolationChroot, Dir: dir}, attempts, nil
}

// ProbeName is the argv[0] under which this program, bound into an empty
// container, only says that it was started.
const ProbeName = "/kbuild-probe"

// Patience is the time in which a build expects a runtime to start a container
// that does nothing.
const Patience = 30 * time.Second

// probe copies this program to a directory, if it is not there: /proc/self/exe may
// be a bound file that has no path. Where nothing can be executed in the
// directory, as in many a home, a file system in memory is mounted for it, in this
// process's own mount namespace.
func probe(dir string) (program string, forget func() error, err error) {
	forget = func() error { return nil }
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", forget, fmt.Errorf("copy this program: %w", err)
	}
	if st.Flags&unix.ST_NOEXEC != 0 {
		dir = filepath.Join(dir, "executable")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", forget, fmt.Errorf("copy this program: %w", err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
			return "", forget, fmt.Errorf("mount a file system for this program: %w", err)
		}
		forget = func() error { return errors.Join(unix.Unmount(dir, unix.MNT_DETACH), os.Remove(dir)) }
	}
	program = filepath.Join(dir, "probe")
	if err := files.Copy("/proc/self/exe", program, files.Self()); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", forget, errors.Join(fmt.Errorf("copy this program: %w", err), forget())
	}
	return program, forget, nil
}

// Try starts this static binary in an otherwise empty container, the way a
// compile would be started, and gives up after some time. It leaves nothing.
func Try(ctx context.Context, host Host, patience time.Duration) (err error) {
	program, forget, err := probe(host.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, forget()) }()
	return host.try(ctx, program, patience)
}

// try is Try with a copy of this program.
func (h Host) try(ctx context.Context, program string, patience time.Duration) (err error) {
	root, err := os.MkdirTemp(h.Dir, "probe-")
	if err != nil {
		return fmt.Errorf("make an empty container: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	mounts := []Mount{{Host: program, Container: ProbeName, ReadOnly: true}}
	if isDynamic(program) {
		// Only a build that make did not do, as of go test.
		for _, dir := range []string{"/lib", "/lib64", "/usr"} {
			if _, err := os.Stat(dir); err == nil {
				mounts = append(mounts, Mount{Host: dir, Container: dir, ReadOnly: true})
			}
		}
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var said bytes.Buffer
	_, err = start(bounded, settings{}, root, []string{ProbeName}, Options{
		Network: NetworkNone, Host: h, Mounts: mounts, Stdout: &said, Stderr: &said, Trial: true,
	})
	if bounded.Err() != nil && ctx.Err() == nil {
		return slow(patience)
	}
	var exit *exec.ExitError
	if lines := strings.Split(strings.TrimSpace(said.String()), "\n"); errors.As(err, &exit) && lines[0] != "" {
		return errors.New(lines[len(lines)-1])
	}
	return err
}

// slow is the error of a runtime that started no container in time.
func slow(after time.Duration) error {
	if after < Patience {
		return fmt.Errorf("it starts no container within %s, for which a build waits %s",
			after.Round(time.Millisecond), Patience)
	}
	return fmt.Errorf("it starts no container within %s", after)
}

// isDynamic reports whether a program needs a loader, and so libraries.
func isDynamic(program string) bool {
	file, err := elf.Open(program)
	if err != nil {
		return false
	}
	defer file.Close()
	return slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// PolicyFile writes the signature policy that buildah asks for when it reads
// and writes the local store. What comes from outside was judged when it came.
func (h Host) PolicyFile() (string, error) {
	file := filepath.Join(h.Dir, "policy.json")
	if err := os.WriteFile(file, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		return "", fmt.Errorf("write a policy for the local store: %w", err)
	}
	return file, nil
}
