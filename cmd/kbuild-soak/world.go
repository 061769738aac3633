package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kbuild/kbuild/builder/kube/kubetest"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"golang.org/x/sys/unix"
)

// A soak is what all parts share: a registry with a small kube-cross, one
// directory, and the count of what came out.
type soak struct {
	options
	*rand.Rand
	dir      string
	program  string // kbuild, absolute
	registry *mirrortest.Registry
	tag      string // of kube-cross
	goroot   string
	rootfs   string // archive, for kbuild cross

	part     string
	rounds   int
	outcomes map[string]int
	faults   int

	rehearsed *power
}

// open makes the directory and the registry.
func open(ctx context.Context, o options) (_ *soak, err error) {
	s := &soak{options: o, Rand: rand.New(rand.NewSource(o.seed)), outcomes: map[string]int{}}
	if s.program, err = filepath.Abs(o.kbuild); err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.program); err != nil {
		return nil, fmt.Errorf("%w: make build makes it", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("keep mounts to this process: %w", err)
	}
	if s.dir, err = workDirectory(o.work); err != nil {
		return nil, fmt.Errorf("make a directory to work in: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.remove())
		}
	}()
	return s, s.prepare(ctx)
}

// prepare makes the kube-cross, a registry that has it, and an archive of it
// without its Go.
func (s *soak) prepare(ctx context.Context) (err error) {
	s.tag = "v1.4.2-1"
	if s.old {
		s.goroot, err = mirrortest.GoToolchain(ctx, "1.4.3")
	} else if s.goroot, err = output(ctx, exec.Command("go", "env", "GOROOT")); err == nil {
		var version string
		version, err = output(ctx, exec.Command("go", "env", "GOVERSION"))
		s.tag = "v" + strings.TrimPrefix(strings.Fields(version + " x")[0], "go") + "-1"
	}
	if err != nil {
		return err
	}
	img, err := mirrortest.Cross(mirrortest.CrossOptions{GOROOT: s.goroot})
	if err != nil {
		return err
	}
	if s.registry, err = mirrortest.Serve(); err != nil {
		return err
	}
	if err := s.registry.Push("xuxinkun/kubernetes:"+s.tag, img); err != nil {
		return err
	}
	s.rootfs = filepath.Join(s.dir, "rootfs.tar")
	return writeRootfs(s.rootfs, img)
}

// writeRootfs writes an archive of a kube-cross without its Go, but with the shared
// libraries that this needs.
func writeRootfs(file string, img v1.Image) (err error) {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		return err
	}
	defer content.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	from, to := tar.NewReader(content), tar.NewWriter(f)
	for {
		h, err := from.Next()
		if err == io.EOF {
			return to.Close()
		}
		if err != nil {
			return err
		}
		if strings.Contains(h.Name+"/", "usr/local/go/") {
			continue
		}
		if err := to.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(to, from); err != nil {
			return err
		}
	}
}

func (s *soak) mirror() string { return s.registry.Host() + "/xuxinkun/kubernetes" }

// tell prints what came of one blow, and counts it. A fault is one that makes
// the whole fail.
func (s *soak) tell(fault bool, outcome, format string, args ...any) {
	s.outcomes[outcome]++
	if fault {
		s.faults++
		outcome = strings.ToUpper(outcome)
	}
	fmt.Printf("%s: %s: %s\n", s.part, fmt.Sprintf(format, args...), outcome)
}

func (s *soak) tally() string {
	var names []string
	for name, n := range s.outcomes {
		names = append(names, fmt.Sprintf("%d %s", n, name))
	}
	slices.Sort(names)
	clear(s.outcomes)
	return strings.Join(names, ", ")
}

// remove removes the directory; what is mounted below it is no longer.
func (s *soak) remove() error {
	var err error
	if s.registry != nil {
		err = s.registry.Close()
	}
	mounts, e := os.ReadFile("/proc/self/mounts")
	err = errors.Join(err, e)
	for _, line := range slices.Backward(strings.Split(string(mounts), "\n")) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], s.dir+"/") {
			unix.Unmount(fields[1], unix.MNT_DETACH) //nolint:errcheck // what stays is told of below
		}
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// A place is a directory in which one user of kbuild lives: tree, store, home
// and temporary files.
type place struct {
	*soak
	dir string
}

func (p place) tree() string { return filepath.Join(p.dir, "tree") }

// twin is a worktree of the tree's repository, and so of its level of trust.
func (p place) twin() string { return filepath.Join(p.dir, "twin") }

// kubeletOf is what is published in a tree.
func kubeletOf(tree string) string {
	return filepath.Join(tree, "_output/dockerized/bin/linux/amd64/kubelet")
}

// kubelet is the published program.
func (p place) kubelet() string { return kubeletOf(p.tree()) }

// make makes the directories and the tree.
func (p place) make(ctx context.Context) error {
	for _, dir := range []string{"home", "tmp"} {
		if err := os.Mkdir(filepath.Join(p.dir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := kubetest.Release12(p.tree(), p.tag); err != nil {
		return err
	}
	if err := kubetest.Commit(ctx, p.tree(), "v1.2.3"); err != nil {
		return err
	}
	_, err := output(ctx, exec.Command("git", "-C", p.tree(), "worktree", "add", "--quiet", "--detach", p.twin()))
	return err
}

// fromNothing builds the tree in its twin, with nothing to begin with, as it is after
// the edit and then as it is before, and leaves what was compiled as all that there
// is: whatever else is done begins with a copy of that. The standard library of
// today's Go comes as sources, and would be compiled in every round.
func (p place) fromNothing(ctx context.Context, args []string) (programs map[bool][]byte, err error) {
	programs = map[bool][]byte{}
	for _, edit := range []bool{true, false} {
		if err := p.edit(p.twin(), edit); err != nil {
			return nil, err
		}
		if _, err := p.kbuildIn(ctx, p.twin(), args...); err != nil {
			return nil, err
		}
		if programs[edit], err = os.ReadFile(kubeletOf(p.twin())); err != nil {
			return nil, err
		}
	}
	store := filepath.Join(p.dir, "store")
	return programs, errors.Join(os.RemoveAll(filepath.Join(store, "graph")), os.RemoveAll(filepath.Join(store, "run")))
}

// command prepares a run of kbuild in the tree.
func (p place) command(args ...string) *exec.Cmd { return p.commandIn(p.tree(), args...) }

func (p place) commandIn(tree string, args ...string) *exec.Cmd {
	cmd := exec.Command(p.program, slices.Insert(slices.Clone(args), 0, "--root", filepath.Join(p.dir, "store"))...)
	cmd.Dir = tree
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(p.dir, "home"), "TMPDIR=" + filepath.Join(p.dir, "tmp"),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LANG=C.UTF-8",
	}
	return cmd
}

// patience is how long a run of kbuild may take before it counts as stuck.
const patience = 5 * time.Minute

var errStuck = fmt.Errorf("it has not ended after %v", patience)

// kbuild runs it to its end; what it said is in the error, and returned.
func (p place) kbuild(ctx context.Context, args ...string) (string, error) {
	return p.kbuildIn(ctx, p.tree(), args...)
}

func (p place) kbuildIn(ctx context.Context, tree string, args ...string) (string, error) {
	var said bytes.Buffer
	cmd := p.commandIn(tree, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return "", err
	}
	late := time.AfterFunc(patience, func() { cmd.Process.Kill() }) //nolint:errcheck // it may have ended
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })   //nolint:errcheck // it may have ended
	defer stop()
	err := cmd.Wait()
	if !late.Stop() {
		err = errStuck
	}
	if ctx.Err() != nil {
		return "", ctx.Err() // it was not kbuild that failed
	}
	if err != nil {
		err = fmt.Errorf("kbuild %s: %w\n%s", strings.Join(args, " "), err, indent(said.String()))
	}
	return said.String(), err
}

// edit changes what kubelet prints, or takes that back.
func (p place) edit(tree string, edited bool) error {
	file := filepath.Join(tree, "pkg/kubelet/soak.go")
	if !edited {
		return os.Remove(file)
	}
	return os.WriteFile(file, []byte("package kubelet\n\nfunc init() { println(\"soak\") }\n"), 0o644)
}

// holdings is the sum of every file in the image that the tree is built in, but
// for what a run leaves there.
func (p place) holdings(ctx context.Context) (string, error) {
	var stderr bytes.Buffer
	cmd := p.command("--quiet", "run", "--offline", "--", "tar", "-c", "-f", "-", "-C", "/",
		"--exclude=_output", "--exclude=Godeps/_workspace/pkg", "usr", "etc", "go")
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() }) //nolint:errcheck // it may have ended
	defer stop()
	sum, errSum := sumArchive(out)
	_, errRest := io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		return "", cmp.Or(ctx.Err(), fmt.Errorf("kbuild run: %w\n%s", err, indent(stderr.String())))
	}
	return sum, errors.Join(errSum, errRest)
}

// sumArchive is the sum of what an archive holds; in which order, and the times
// of directories, in which runtimes make mount points, are of no concern.
func sumArchive(r io.Reader) (string, error) {
	members := map[string]string{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		content := sha256.New()
		if _, err := io.Copy(content, archive); err != nil {
			return "", err
		}
		members[h.Name] = fmt.Sprintf("%q %d %o %d %d %q %x",
			h.Name, h.Typeflag, h.Mode, h.Uid, h.Gid, h.Linkname, content.Sum(nil))
	}
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(members)) {
		fmt.Fprintln(all, members[name])
	}
	return fmt.Sprintf("%d files, %x", len(members), all.Sum(nil)), nil
}

// indent sets a program's words apart.
func indent(said string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(said), "\n", "\n    ")
}

// output is what a command prints, less the newlines at its end.
func output(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() }) //nolint:errcheck // it may have ended
	defer stop()
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, indent(stderr.String()+stdout.String()))
	}
	return strings.TrimRight(stdout.String(), "\n"), nil
}
