package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containers/buildah"
	"github.com/containers/buildah/define"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/namespace"
)

// Isolation is how a container is kept apart from the host, in the words of
// buildah's --isolation.
type Isolation string

const (
	IsolationOCI      Isolation = "oci"      // an OCI runtime, as root
	IsolationRootless Isolation = "rootless" // an OCI runtime, in the user's namespace
	IsolationChroot   Isolation = "chroot"   // chroot(1) and namespaces, no runtime
)

func (i Isolation) define() define.Isolation {
	switch i {
	case IsolationChroot:
		return define.IsolationChroot
	case IsolationRootless:
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
	Runtime   string // path of an OCI runtime; "" for chroot
	// Dir is for files that live as long as the run.
	Dir string
}

// runtimeArgs keep the runtime's own state where kbuild removes it, also after
// a run that was killed.
func (h Host) runtimeArgs() []string {
	if h.Runtime == "" {
		return nil
	}
	return []string{"--root", filepath.Join(h.Dir, "runtime")}
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

// hostRecord is what FindHost remembers between runs: a runtime that started a
// container once does so again, until it or the kernel is another.
type hostRecord struct {
	Boot, Runtime string
	Time          time.Time
	Size          int64
}

// FindHost chooses how to run containers: asked if it is not "", otherwise the
// first OCI runtime that really starts a container, otherwise chroot. Trying
// takes a moment, so the answer is kept in the cache directory until the next
// boot. The attempts tell which runtimes did not start, and why. tree is the
// hash of the tree's path, by which [RemoveLeftovers] finds what a kill leaves.
func FindHost(ctx context.Context, store *storage.Store, asked Isolation, tree, dir, cache string) (Host, []Attempt, error) {
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
	file := filepath.Join(cache, "runtime.json")
	var attempts []Attempt
	for _, runtime := range FindRuntimes() {
		host.Runtime = runtime
		record, err := recordOf(runtime)
		if err != nil {
			attempts = append(attempts, Attempt{runtime, err.Error()})
			continue
		}
		var known hostRecord
		if files.ReadJSON(file, &known) == nil && known.Boot == record.Boot && known.Runtime == record.Runtime &&
			known.Size == record.Size && known.Time.Equal(record.Time) {
			return host, attempts, nil
		}
		if err := try(ctx, store, tree, host); err != nil {
			if ctx.Err() != nil {
				return Host{}, nil, ctx.Err()
			}
			attempts = append(attempts, Attempt{runtime, err.Error()})
			continue
		}
		if err := files.WriteJSON(file, record); err != nil {
			return Host{}, nil, fmt.Errorf("remember the runtime: %w", err)
		}
		return host, attempts, nil
	}
	if asked != "" {
		err := fmt.Errorf("isolation %s needs an OCI runtime that starts a container", asked)
		for _, a := range attempts {
			err = fmt.Errorf("%w\n  %s: %s", err, a.Runtime, a.Answer)
		}
		return Host{}, attempts, withHint(err, "install runc, or let kbuild use --isolation chroot")
	}
	host.Isolation, host.Runtime = IsolationChroot, ""
	return host, attempts, nil
}

func recordOf(runtime string) (hostRecord, error) {
	info, err := os.Stat(runtime)
	if err != nil {
		return hostRecord{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return hostRecord{}, err
	}
	return hostRecord{Boot: strings.TrimSpace(string(boot)), Runtime: runtime, Time: info.ModTime(), Size: info.Size()}, nil
}

// ProbeName is the argv[0] under which this program, bound into an empty
// container, only says that it was started.
const ProbeName = "/kbuild-probe"

// try starts this static binary in an otherwise empty container, the way a
// compile would be started.
func try(ctx context.Context, store *storage.Store, tree string, host Host) error {
	// A copy, because /proc/self/exe may be a bound file that has no path.
	program := filepath.Join(host.Dir, "probe")
	if err := files.Copy("/proc/self/exe", program, files.Self()); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("copy this program: %w", err)
	}
	var said bytes.Buffer
	opts := Options{
		Tree: tree + "-probe", Network: NetworkNone, Host: host, Mounts: []Mount{{Host: program, Container: ProbeName, ReadOnly: true}},
		Stdout: &said, Stderr: &said,
	}
	err := inContainer(ctx, store, opts, func(b *buildah.Builder, root string) error {
		return start(ctx, b, root, []string{ProbeName}, opts)
	})
	var exit *exec.ExitError
	if lines := strings.Split(strings.TrimSpace(said.String()), "\n"); errors.As(err, &exit) && lines[0] != "" {
		return errors.New(lines[len(lines)-1])
	}
	return err
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
