package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/kubetest"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"golang.org/x/sys/unix"
)

// A bench is a directory to measure in, and what is measured.
type bench struct {
	options
	dir      string
	pristine string // the copy of the tree that stays as it is
	program  string // kbuild, absolute
	baseName string // as the tree asks for it
	kube     kube.Tree
	ways     []way
	leftOut  []string
	first    *regexp.Regexp
	registry *mirrortest.Registry // of the small base image
}

// open makes the directory.
func open(o options) (*bench, error) {
	b := &bench{options: o}
	var err error
	if b.first, err = regexp.Compile(o.began); err != nil {
		return nil, fmt.Errorf("-began: %w", err)
	}
	if b.program, err = filepath.Abs(o.kbuild); err != nil {
		return nil, fmt.Errorf("-kbuild: %w", err)
	}
	if info, err := os.Stat(b.program); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("-kbuild: there is no program %s: make build makes it", b.program)
	}
	if o.work != "" {
		if b.dir, err = filepath.Abs(o.work); err == nil {
			err = os.Mkdir(b.dir, 0o755)
		}
	} else {
		parent := os.Getenv("TMPDIR")
		if parent == "" {
			parent = "/var/tmp" // images are large
		}
		b.dir, err = os.MkdirTemp(parent, "kbuild-bench-")
	}
	if err != nil {
		return nil, fmt.Errorf("make a directory to work in: %w", err)
	}
	b.pristine = filepath.Join(b.dir, "pristine", "kubernetes")
	return b, nil
}

// way is the way of a name.
func (b *bench) way(name string) way {
	return b.ways[slices.IndexFunc(b.ways, func(w way) bool { return w.name() == name })]
}

// prepare makes the copies and brings the base image to where each way has it.
func (b *bench) prepare(ctx context.Context) (err error) {
	if b.tree == "" {
		err = b.smallTree(ctx)
	} else {
		err = copyTree(ctx, b.tree, b.pristine)
	}
	if err != nil {
		return fmt.Errorf("copy the tree: %w", err)
	}
	// Nothing of the environment is to have a say, as in the builds.
	if b.kube, err = kube.OpenTree(ctx, b.pristine, func(string) (string, bool) { return "", false }); err != nil {
		return err
	}
	if b.kube.Recipe.Archive == "" {
		return fmt.Errorf("%s: only trees whose sources go into the image as an archive can be measured", b.tree)
	}
	b.baseName = b.kube.Recipe.BaseImage
	for _, file := range []string{"pkg/kubelet/util.go", "pkg/kubelet/kubelet.go"} {
		if _, err := os.Stat(filepath.Join(b.pristine, file)); err == nil && b.edit == "" {
			b.edit = file
		}
	}
	if _, err := os.Stat(filepath.Join(b.pristine, b.edit)); err != nil || b.edit == "" {
		return fmt.Errorf("-edit %q: the tree has no such file", b.edit)
	}
	if b.goroot == "" {
		if b.goroot, err = output(ctx, exec.Command("go", "env", "GOROOT")); err != nil {
			return err
		}
	}
	if b.goroot, err = filepath.Abs(b.goroot); err != nil {
		return err
	}
	return b.prepareWays(ctx)
}

// prepareWays prepares the ways that can be gone here, and says which cannot.
func (b *bench) prepareWays(ctx context.Context) error {
	at := func(name string) place { return place{b, filepath.Join(b.dir, name)} }
	for _, w := range []struct {
		way
		place
		program string
	}{
		{bare{at("bare")}, at("bare"), filepath.Join(b.goroot, "bin", "go")},
		{kbuild{at("kbuild")}, at("kbuild"), b.program},
		{podman{at("podman")}, at("podman"), "podman"},
		{buildah{at("buildah")}, at("buildah"), "buildah"},
	} {
		name := w.way.name()
		if len(b.options.ways) > 0 && !slices.Contains(b.options.ways, name) {
			continue
		}
		err := func() error {
			if _, err := exec.LookPath(w.program); err != nil {
				return err
			}
			if err := copyTree(ctx, b.pristine, w.place.tree()); err != nil {
				return err
			}
			if err := w.place.makeDirectories(); err != nil {
				return err
			}
			return w.way.prepare(ctx)
		}()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			b.leftOut = append(b.leftOut, fmt.Sprintf("%s: %v", name, err))
			fmt.Fprintf(os.Stderr, "kbuild-bench: NOT MEASURED: %s: %v\n", name, err)
			if name == wayKbuild {
				return err
			}
			continue
		}
		b.ways = append(b.ways, w.way)
	}
	return nil
}

// smallTree makes the tree of the demonstration, and a registry with its base
// image.
func (b *bench) smallTree(ctx context.Context) error {
	version, err := output(ctx, exec.Command("go", "env", "GOVERSION"))
	if err != nil {
		return err
	}
	tag := "v" + strings.TrimPrefix(strings.Fields(version)[0], "go") + "-1"
	if err := kubetest.Release12(b.pristine, tag); err != nil {
		return err
	}
	if err := kubetest.Commit(ctx, b.pristine, "v1.2.3"); err != nil {
		return err
	}
	img, err := mirrortest.Cross(mirrortest.CrossOptions{})
	if err != nil {
		return err
	}
	if b.registry, err = mirrortest.Serve(); err != nil {
		return err
	}
	b.base = "docker://" + b.registry.Host() + "/google_containers/kube-cross:" + tag
	return b.registry.Push("google_containers/kube-cross:"+tag, img)
}

// describe says what was measured.
func (b *bench) describe(ctx context.Context) string {
	name := "the small tree of the demonstration"
	if b.tree != "" {
		name = filepath.Base(b.tree)
		if v, err := b.kube.Version(ctx); err == nil && v.GitVersion != "" {
			name += " " + v.GitVersion
		}
	}
	if said, err := output(ctx, exec.Command(b.program, "version")); err == nil {
		name += ", " + said
	}
	return fmt.Sprintf("%s, %s", name, b.baseName)
}

// remove removes the directory. Files of subordinate ids are in it, which
// kbuild may remove, and as root what podman keeps mounted.
func (b *bench) remove() error {
	var err error
	if b.registry != nil {
		err = b.registry.Close()
	}
	for _, name := range wayNames {
		place{b, filepath.Join(b.dir, name)}.endPause()
	}
	if mounts, e := os.ReadFile("/proc/self/mounts"); e == nil && os.Geteuid() == 0 {
		for line := range strings.Lines(string(mounts)) {
			if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], b.dir+"/") {
				unix.Unmount(fields[1], unix.MNT_DETACH) //nolint:errcheck // what stays is told of below
			}
		}
	}
	if _, e := output(context.Background(), exec.Command(b.program, "unshare-rm", b.dir)); e != nil {
		err = errors.Join(err, fmt.Errorf("remove %s: %w", b.dir, e))
	}
	return err
}

// measured is one run of a process, with all that it started.
type measured struct {
	wall, began float64 // seconds; began is 0 where the script said nothing
	memory      int64   // bytes, of the largest process
}

// time runs a command to its end.
func (b *bench) time(ctx context.Context, cmd *exec.Cmd) (measured, error) {
	watch := &watcher{first: b.first, start: time.Now()}
	cmd.Stdout, cmd.Stderr = watch, watch
	if err := runCommand(ctx, cmd); err != nil {
		return measured{}, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, lastLines(watch.said.Bytes()))
	}
	m := measured{wall: time.Since(watch.start).Seconds(), began: watch.began.Seconds()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.memory = usage.Maxrss << 10 // getrusage(2): kilobytes
	}
	return m, nil
}

// runCommand runs a command that gets time to clean up when ctx ends.
func runCommand(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(unix.SIGTERM) }) //nolint:errcheck // it may have ended
	defer stop()
	return cmd.Wait()
}

// output is what a command prints, less the newlines at its end.
func output(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := runCommand(ctx, cmd); err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, lastLines(stderr.Bytes()))
	}
	return strings.TrimRight(stdout.String(), "\n"), nil
}

// A watcher takes what a command says, and notes when a certain line came.
type watcher struct {
	first *regexp.Regexp
	start time.Time
	began time.Duration
	said  bytes.Buffer
}

// Write implements io.Writer.
func (w *watcher) Write(p []byte) (int, error) {
	n, err := w.said.Write(p)
	if w.began == 0 && w.first.Match(w.said.Bytes()) {
		w.began = time.Since(w.start)
	}
	return n, err
}

// lastLines are the last of what a program said, in one.
func lastLines(said []byte) string {
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " / ")
}
