package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/kube/kubetest"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "do the whole job on a small tree, offline",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find kbuild's own path: %w", err)
			}
			return runDemo(cmd.Context(), self, a.stdout)
		},
	}
}

// demonstration is the whole job on a small tree, with everything it needs in
// one temporary directory.
type demonstration struct {
	self string // the kbuild program
	out  io.Writer
	dir  string // all that the demonstration writes
	tree string
	env  []string
	step int
}

// runDemo shows the whole job offline, with the kbuild program at self: a
// mirror on loopback, a build, an edit, a second build. It tells on out what
// happens and what the command on a real tree would be. Nothing of it is left
// behind, and neither the user's store nor his cache is touched.
func runDemo(ctx context.Context, self string, out io.Writer) (err error) {
	for _, tool := range []string{"git", "go", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			return &hinted{fmt.Errorf("demo: %w", err), "install " + tool + "; " +
				"the demonstration makes its tree and its kube-cross with it"}
		}
	}
	// Not in /tmp, which is often a small tmpfs: images go here.
	parent := os.Getenv("TMPDIR")
	if parent == "" {
		parent = "/var/tmp"
	}
	dir, err := os.MkdirTemp(parent, "kbuild-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d := &demonstration{self: self, out: out, dir: dir, tree: filepath.Join(dir, "kubernetes"), env: demoEnvironment(dir)}
	defer func() {
		err = errors.Join(err, d.cleanUp(ctx))
	}()
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := d.show(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// demoEnvironment is the caller's environment without what would make this
// build another than the one described, and with a cache below dir.
func demoEnvironment(dir string) []string {
	var env []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case strings.HasPrefix(name, "KUBE_"), strings.HasPrefix(name, "KBUILD_"), strings.HasPrefix(name, "GIT_"):
		case name == "GOFLAGS", name == "CUSTOM_OUTPUT_BINPATH", name == "KUBERNETES_CONTRIB":
		default:
			env = append(env, variable)
		}
	}
	return append(env, "XDG_CACHE_HOME="+filepath.Join(dir, "cache"), "TMPDIR="+filepath.Join(dir, "tmp"))
}

// show is what there is to see.
func (d *demonstration) show(ctx context.Context) error {
	d.say("A small kube-cross",
		"The compiler image, made from what this host has: its Go, bash, core utilities.",
		"For a real tree it exists already, on a mirror you can reach.")
	img, err := mirrortest.Cross(mirrortest.CrossOptions{})
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	tag, err := crossTag(config.Config.Env)
	if err != nil {
		return err
	}

	d.say("A mirror",
		"A registry on loopback serves that image as xuxinkun/kubernetes:"+tag+".",
		"The real one would be index.alauda.cn/xuxinkun/kubernetes, or your own.")
	registry, err := mirrortest.Serve()
	if err != nil {
		return err
	}
	defer registry.Close()
	if err := registry.Push("xuxinkun/kubernetes:"+tag, img); err != nil {
		return err
	}

	d.say("A Kubernetes tree",
		"Small, but shaped like release-1.2: its Dockerfile asks for",
		"gcr.io/google_containers/kube-cross:"+tag+", which is never contacted. The real one:",
		"    git clone -b release-1.2 https://github.com/kubernetes/kubernetes")
	if err := kubetest.Release12(d.tree, tag); err != nil {
		return err
	}
	if err := kubetest.Commit(ctx, d.tree, "v1.2.3"); err != nil {
		return err
	}

	d.say("Build the kubelet",
		"Check, mirror, image, compile. (--root keeps it out of your own image store.)",
		"In a real tree:",
		"    kbuild --mirror index.alauda.cn/xuxinkun/kubernetes cmd/kubelet")
	build := []string{
		"--root", filepath.Join(d.dir, "store"), "--mirror", registry.Host() + "/xuxinkun/kubernetes", "cmd/kubelet",
	}
	if err := d.kbuild(ctx, build...); err != nil {
		return err
	}

	kubelet := filepath.Join("_output/dockerized/bin", runtime.GOOS, runtime.GOARCH, "kubelet")
	d.say("Run it",
		"It lies where Kubernetes' own scripts put it, and knows the tree's version.")
	if err := d.expect(ctx, "Kubernetes v1.2.3", kubelet, "--version"); err != nil {
		return err
	}
	if err := d.expect(ctx, "hello from kubelet: no pods yet", kubelet); err != nil {
		return err
	}

	d.say("Edit a file and build again",
		"The mirror is not asked again, and only what the edit concerns is compiled.")
	const source, before, after = "pkg/kubelet/kubelet.go", "no pods yet", "one pod, just edited"
	if err := d.edit(source, before, after); err != nil {
		return err
	}
	if err := d.kbuild(ctx, build...); err != nil {
		return err
	}
	if err := d.expect(ctx, "Kubernetes v1.2.3-dirty", kubelet, "--version"); err != nil {
		return err
	}
	if err := d.expect(ctx, "hello from kubelet: "+after, kubelet); err != nil {
		return err
	}

	d.say("Done",
		"That was the whole job, without a daemon, without a registry on the network.",
		"What it wrote is removed now. See README.md for the real thing.")
	return nil
}

// crossTag derives the tag that promises the image's own Go, such as
// v1.26.8-1, from its environment.
func crossTag(env []string) (string, error) {
	for _, variable := range env {
		release, ok := strings.CutPrefix(variable, "GOLANG_VERSION=")
		if !ok {
			continue
		}
		if number := regexp.MustCompile(`^\d+(\.\d+)+`).FindString(release); number != "" {
			return "v" + number + "-1", nil
		}
		return "", &hinted{fmt.Errorf("%q is not a release of Go", release), "use a released Go, 1.24 or newer"}
	}
	return "", errors.New("the kube-cross does not say which Go it has")
}

// say begins a step: a heading and what is to be known about it.
func (d *demonstration) say(title string, text ...string) {
	d.step++
	fmt.Fprintf(d.out, "\n%d. %s\n", d.step, title)
	for _, line := range text {
		fmt.Fprintf(d.out, "   %s\n", line)
	}
}

// kbuild runs this program in the tree, and shows how.
func (d *demonstration) kbuild(ctx context.Context, args ...string) error {
	d.command("kbuild", args...)
	cmd := d.exec(ctx, d.self, args...)
	cmd.Stdout, cmd.Stderr = d.out, d.out
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kbuild: %w", err)
	}
	fmt.Fprintf(d.out, "   (%.1f s)\n", time.Since(start).Seconds())
	return nil
}

// expect runs a program of the tree, and shows what it prints, which has to be
// this one line.
func (d *demonstration) expect(ctx context.Context, want, program string, args ...string) error {
	d.command(program, args...)
	var output bytes.Buffer
	cmd := d.exec(ctx, filepath.Join(d.tree, program), args...)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(d.out, &output), d.out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	if got := strings.TrimSuffix(output.String(), "\n"); got != want {
		return fmt.Errorf("%s printed %q instead of %q", program, got, want)
	}
	return nil
}

// edit replaces a text in a file of the tree.
func (d *demonstration) edit(name, before, after string) error {
	path := filepath.Join(d.tree, name)
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	edited := strings.Replace(string(content), before, after, 1)
	if edited == string(content) {
		return fmt.Errorf("%s does not hold %q", name, before)
	}
	d.command("sed", "-i", "'s/"+before+"/"+after+"/'", name)
	return os.WriteFile(path, []byte(edited), 0o644)
}

// command shows a command as it would be typed in the tree.
func (d *demonstration) command(name string, args ...string) {
	fmt.Fprintf(d.out, "   $ %s\n", strings.Join(append([]string{name}, args...), " "))
}

// exec prepares a command in the tree that gets time to clean up when ctx ends.
func (d *demonstration) exec(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = d.tree, d.env
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// cleanUp removes all that was written, also after an interruption. Without
// root the store holds files of subordinate ids, which only kbuild itself, in
// its user namespace, may remove.
func (d *demonstration) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.self, "unshare-rm", d.dir)
	output, err := cmd.CombinedOutput()
	if err != nil {
		// Where there are no namespaces, there is no such file either.
		if os.RemoveAll(d.dir) == nil {
			return nil
		}
		return &hinted{
			fmt.Errorf("demo: remove %s: %w: %s", d.dir, err, bytes.TrimSpace(output)),
			"remove it yourself: kbuild unshare-rm " + d.dir,
		}
	}
	if _, err := os.Lstat(d.dir); err == nil {
		return fmt.Errorf("demo: remove %s: it is still there", d.dir)
	}
	return nil
}
