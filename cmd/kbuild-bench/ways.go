package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
	"golang.org/x/sys/unix"
)

// The ways of building that are compared.
const (
	wayBare    = "bare"
	wayKbuild  = "kbuild"
	wayPodman  = "podman"
	wayBuildah = "buildah"
)

var wayNames = []string{wayBare, wayKbuild, wayPodman, wayBuildah}

// A way is a way of building a tree.
type way interface {
	name() string
	// tree is the way's own copy of the tree.
	tree() string
	// prepare brings the base image to where the way looks for it.
	prepare(context.Context) error
	// build is the command that builds targets in a tree; none is everything.
	build(dir string, targets []string) *exec.Cmd
	// setAside moves what was built, and all that is kept, to another directory
	// of the same file system.
	setAside(to string) error
}

// place is what every way has: a directory of its own.
type place struct {
	*bench
	dir string
}

func (p place) tree() string { return filepath.Join(p.dir, "kubernetes") }

func (p place) runtimeDir() string { return filepath.Join(p.dir, "run") }

// endPause ends the process with which podman and buildah, without root, keep
// their user namespace.
func (p place) endPause() {
	data, err := os.ReadFile(filepath.Join(p.runtimeDir(), "libpod", "tmp", "pause.pid"))
	if err != nil {
		return
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && pid > 1 {
		unix.Kill(pid, unix.SIGKILL) //nolint:errcheck // it may be gone
	}
}

// command is a command in a tree, with caches of the way's own.
func (p place) command(dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(ownEnvironment(os.Environ()), "PWD="+dir,
		"XDG_CACHE_HOME="+filepath.Join(p.dir, "cache"), "GOCACHE="+filepath.Join(p.dir, "gocache"),
		"TMPDIR="+filepath.Join(p.dir, "tmp"), "XDG_RUNTIME_DIR="+p.runtimeDir(), "GOTOOLCHAIN=local")
	return cmd
}

// do runs a command that is not measured.
func (p place) do(ctx context.Context, cmd *exec.Cmd) error {
	_, err := p.time(ctx, cmd)
	return err
}

// ownEnvironment is an environment without what would make the builds others
// than those described, or not the same for all the ways.
func ownEnvironment(from []string) []string {
	var env []string
	for _, variable := range from {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case strings.HasPrefix(name, "KUBE_"), strings.HasPrefix(name, "KBUILD_"),
			strings.HasPrefix(name, "GIT_"), strings.HasPrefix(name, "BUILDAH_"):
		case name == "GOFLAGS", name == "GOPATH", name == "GOROOT", name == "GOBIN",
			name == "CUSTOM_OUTPUT_BINPATH", name == "KUBERNETES_CONTRIB",
			name == "STORAGE_DRIVER", name == "MAKEFLAGS", name == "MFLAGS", name == "CGO_ENABLED":
		default:
			env = append(env, variable)
		}
	}
	return env
}

// built are the names of what a build leaves in a tree.
var built = []string{"_output", "Godeps/_workspace/pkg"}

// makeDirectories makes those that the commands get for temporary files.
func (p place) makeDirectories() error {
	return errors.Join(os.MkdirAll(filepath.Join(p.dir, "tmp"), 0o755), os.MkdirAll(p.runtimeDir(), 0o700))
}

func (p place) setAside(to string) error {
	p.endPause()
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if path := filepath.Join(p.dir, e.Name()); path != p.tree() {
			if err := os.Rename(path, filepath.Join(to, e.Name())); err != nil {
				return err
			}
		}
	}
	for i, name := range built {
		err := os.Rename(filepath.Join(p.tree(), name), filepath.Join(to, fmt.Sprintf("built-%d", i)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return p.makeDirectories()
}

// bare is the tree's script on this host.
type bare struct{ place }

func (bare) name() string                  { return wayBare }
func (bare) prepare(context.Context) error { return nil }

func (w bare) build(dir string, targets []string) *exec.Cmd {
	cmd := w.command(dir, "hack/build-go.sh", targets...)
	cmd.Env = append(cmd.Env, "GOROOT="+w.goroot, "PATH="+filepath.Join(w.goroot, "bin")+":"+os.Getenv("PATH"))
	return cmd
}

// kbuild is the program this is about.
type kbuild struct{ place }

func (kbuild) name() string { return wayKbuild }

func (w kbuild) kbuild(dir string, args ...string) *exec.Cmd {
	return w.command(dir, w.program, append([]string{"--root", filepath.Join(w.dir, "store")}, args...)...)
}

func (w kbuild) prepare(ctx context.Context) error {
	return w.do(ctx, w.kbuild(w.tree(), "mirror", "--mirror", w.base))
}

func (w kbuild) build(dir string, targets []string) *exec.Cmd { return w.kbuild(dir, targets...) }
func (w kbuild) image(dir string) *exec.Cmd                   { return w.kbuild(dir, "image") }

// cache is the place in which machines share what they compile. A registry that is
// there for this need not have a certificate.
func (w kbuild) cache() (flags []string, place string) {
	if w.bench.cache != "" {
		return []string{"--tls-verify=false"}, w.bench.cache
	}
	return nil, "oci:" + filepath.Join(w.bench.dir, "cache")
}

// share writes what a build leaves into it.
func (w kbuild) share(ctx context.Context, target string) error {
	flags, place := w.cache()
	return w.do(ctx, w.kbuild(w.tree(), append(flags, "--cache-to", place, target)...))
}

// shared builds with what is in it.
func (w kbuild) shared(dir, target string) *exec.Cmd {
	flags, place := w.cache()
	return w.kbuild(dir, append(flags, "--cache-from", place, target)...)
}

// podman is upstream's flow, with a docker that is podman.
type podman struct{ place }

func (podman) name() string { return wayPodman }

func (w podman) podman(dir string, args ...string) *exec.Cmd {
	return w.command(dir, filepath.Join(w.dir, "bin", "docker"), args...)
}

func (w podman) prepare(ctx context.Context) error {
	store := filepath.Join(w.dir, "store")
	// docker makes the directories of volumes that are not there.
	shim := "#!/bin/sh\nfor arg; do case $arg in /*:/*) [ -e \"${arg%%:*}\" ] || mkdir -p \"${arg%%:*}\" ;; esac; done\n" +
		fmt.Sprintf("exec podman --root '%s' --runroot '%s-run' --storage-driver overlay \"$@\"\n", store, store)
	if err := os.MkdirAll(filepath.Join(w.dir, "bin"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.dir, "bin", "docker"), []byte(shim), 0o755); err != nil {
		return err
	}
	pull := w.podman(w.tree(), "pull", "--quiet", "--tls-verify=false", w.base)
	id, err := output(ctx, pull)
	if err != nil {
		return err
	}
	return w.do(ctx, w.podman(w.tree(), "tag", id, w.baseName))
}

func (w podman) build(dir string, targets []string) *exec.Cmd {
	cmd := w.command(dir, "build/run.sh", append([]string{"hack/build-go.sh"}, targets...)...)
	cmd.Env = append(cmd.Env, "PATH="+filepath.Join(w.dir, "bin")+":"+os.Getenv("PATH"))
	return cmd
}

// buildah is what a user of buildah would type.
type buildah struct{ place }

func (buildah) name() string { return wayBuildah }

func (w buildah) buildah(dir string, args ...string) *exec.Cmd {
	store := filepath.Join(w.dir, "store")
	global := []string{"--root", store, "--runroot", store + "-run", "--storage-driver", "overlay"}
	return w.command(dir, "buildah", append(global, args...)...)
}

// context is the directory of the build context.
func (w buildah) context() string { return filepath.Join(w.dir, "context") }

func (w buildah) prepare(ctx context.Context) error {
	id, err := output(ctx, w.buildah(w.tree(), "pull", "--quiet", "--tls-verify=false", w.base))
	if err != nil {
		return err
	}
	if err := w.do(ctx, w.buildah(w.tree(), "tag", id, w.baseName)); err != nil {
		return err
	}
	dockerfile, err := w.kube.BuildDockerfile(false)
	if err != nil {
		return err
	}
	version, err := w.kube.Version(ctx)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(w.context(), 0o755),
		os.WriteFile(filepath.Join(w.context(), "Dockerfile"), dockerfile, 0o644),
		os.WriteFile(filepath.Join(w.context(), w.kube.Recipe.VersionDefs), version.File(), 0o644))
}

func (w buildah) build(dir string, targets []string) *exec.Cmd {
	script := buildahScript(w.kube.Recipe, w.context(), filepath.Join(w.dir, "kept"))
	cmd := w.command(dir, "bash", append([]string{"-c", script, "bash"}, targets...)...)
	store := filepath.Join(w.dir, "store")
	cmd.Env = append(cmd.Env, "STORE="+store)
	return cmd
}

// buildahScript packs the sources, builds the image, and runs the command in a
// container of it with what is kept and the output directory mounted.
func buildahScript(r kube.Recipe, dir, kept string) string {
	var s strings.Builder
	s.WriteString("set -e\nb=(buildah --root \"$STORE\" --runroot \"$STORE-run\" --storage-driver overlay)\n")
	fmt.Fprintf(&s, "tar czf '%s/%s' %s\n", dir, r.Archive, strings.Join(r.SourceList, " "))
	fmt.Fprintf(&s, "\"${b[@]}\" build --quiet --layers --pull-never -t kube-build '%s' >/dev/null\n", dir)
	s.WriteString("c=$(\"${b[@]}\" from --pull-never localhost/kube-build)\n")
	var volumes []string
	for i, dir := range r.Persistent {
		volumes = append(volumes, fmt.Sprintf("%s/%d:%s", kept, i, dir))
	}
	for _, o := range r.Outputs {
		volumes = append(volumes, "$PWD/_output/dockerized/bin:"+o.Container)
	}
	s.WriteString("options=()\n")
	for _, v := range volumes {
		host, _, _ := strings.Cut(v, ":")
		fmt.Fprintf(&s, "mkdir -p \"%s\"; options+=(--volume \"%s\")\n", host, v)
	}
	for _, e := range r.Environment {
		fmt.Fprintf(&s, "options+=(--env '%s')\n", e)
	}
	fmt.Fprintf(&s, "status=0\n\"${b[@]}\" run \"${options[@]}\" $c %s \"$@\" || status=$?\n",
		strings.Join(r.Command, " "))
	s.WriteString("\"${b[@]}\" rm $c >/dev/null\nexit $status\n")
	return s.String()
}

// copyTree copies a tree without what is built in it.
func copyTree(ctx context.Context, from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	args := []string{"-a", "--no-preserve=ownership", "--"}
	for _, e := range entries {
		if e.Name() != "_output" {
			args = append(args, filepath.Join(from, e.Name()))
		}
	}
	if _, err := output(ctx, exec.Command("cp", append(args, to)...)); err != nil {
		return err
	}
	// git's index knows the inodes of the original, and git status would read
	// every file each time. In a tree that people work in it is up to date.
	if _, err := os.Stat(filepath.Join(to, ".git")); err == nil {
		cmd := exec.Command("git", "status")
		cmd.Dir = to
		if _, err := output(ctx, cmd); err != nil {
			return err
		}
	}
	for _, name := range built {
		if err := os.RemoveAll(filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// clone makes a fresh clone, or a copy with new times where there is no git.
func (b *bench) clone(ctx context.Context, from, to string) error {
	if _, err := os.Stat(filepath.Join(from, ".git")); errors.Is(err, fs.ErrNotExist) {
		if err := copyTree(ctx, from, to); err != nil {
			return err
		}
		_, err := output(ctx, exec.Command("find", to, "-exec", "touch", "--no-dereference", "{}", "+"))
		return err
	}
	_, err := output(ctx, exec.Command("git", "clone", "--quiet", from, to))
	return err
}
