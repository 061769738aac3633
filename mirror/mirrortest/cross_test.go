package mirrortest_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kbuild/kbuild/builder/kube/kubetest"
	"github.com/kbuild/kbuild/mirror/mirrortest"
)

// oldToolchain returns the GOROOT of a Go from before modules and build caches.
func oldToolchain(t *testing.T) string {
	t.Helper()
	goroot, err := mirrortest.GoToolchain(context.Background(), "1.4.3")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("NOT TESTED with an old Go, as none can be had: %v", err)
	}
	return goroot
}

func cross(t *testing.T, opts mirrortest.CrossOptions) v1.Image {
	t.Helper()
	img, err := mirrortest.Cross(opts)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// each calls visit for each entry of the image's only layer.
func each(t *testing.T, img v1.Image, visit func(*tar.Header, io.Reader)) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 1 {
		t.Fatalf("%d layers, want 1", len(layers))
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		visit(header, archive)
	}
}

// unpack writes the image's files to a new directory.
func unpack(t *testing.T, img v1.Image) string {
	t.Helper()
	root := t.TempDir()
	each(t, img, func(header *tar.Header, content io.Reader) {
		name := filepath.Join(root, header.Name)
		var err error
		switch header.Typeflag {
		case tar.TypeDir:
			err = os.Mkdir(name, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(header.Linkname, name)
		case tar.TypeReg:
			var file *os.File
			if file, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(header.Mode)); err == nil {
				_, err = io.Copy(file, content)
				err = errors.Join(err, file.Close(), os.Chtimes(name, header.ModTime, header.ModTime))
			}
		default:
			t.Errorf("%s is of type %q", header.Name, header.Typeflag)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	return root
}

// rootVariable names the directory that a re-executed test binary makes its
// root, before it becomes the command it was given.
const rootVariable = "MIRRORTEST_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(rootVariable); root != "" {
		fmt.Fprintln(os.Stderr, enter(root))
		os.Exit(125)
	}
	os.Exit(m.Run())
}

// enter makes root the root of this process, with the host's /dev and /proc in
// it, and executes the command line. It needs a mount namespace of its own and
// returns only if it fails.
func enter(root string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	for _, dir := range []string{"/dev", "/proc"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(dir, root+dir, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := syscall.Chroot(root); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := os.Unsetenv(rootVariable); err != nil {
		return err
	}
	return fmt.Errorf("execute: %w", syscall.Exec("/bin/bash", os.Args, os.Environ()))
}

// within runs a bash script in the unpacked image, with its environment, and
// returns what it printed to both streams.
func within(t *testing.T, root string, img v1.Image, script string) (string, error) {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-ec", script)
	cmd.Env = append(config.Config.Env, "HOME=/root", rootVariable+"="+root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestCross builds the small tree in the image, with an old Go and this host's.
func TestCross(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: whether a small kube-cross compiles by itself")
	}
	for _, c := range []struct {
		name   string
		goroot func(*testing.T) string
		// Whether the standard library is in the image in its compiled form.
		compiled bool
	}{
		{"go of this host", func(*testing.T) string { return "" }, false},
		{"go1.4.3", oldToolchain, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := cross(t, mirrortest.CrossOptions{GOROOT: c.goroot(t)})
			root := unpack(t, img)

			// A program without its libraries, or without its execute bit, ends
			// with 126 or 127.
			out, err := within(t, root, img, `
				for program in /bin/* /usr/bin/* /usr/local/go/bin/gofmt; do
					status=0
					"$program" --version </dev/null >/dev/null 2>&1 || status=$?
					[ $status -lt 126 ] || { echo "$program: $status"; "$program" --version; }
				done`)
			if err != nil || out != "" {
				t.Errorf("programs that do not start: %v\n%s", err, out)
			}

			version, err := os.ReadFile(filepath.Join(root, "usr/local/go/VERSION"))
			if err != nil {
				t.Fatal(err)
			}
			release, _, _ := strings.Cut(string(version), "\n")
			out, err = within(t, root, img, "go version; echo $GOLANG_VERSION; test -x /bin/sh")
			want := "go version " + release + " linux/" + runtime.GOARCH + "\n" + strings.TrimPrefix(release, "go") + "\n"
			if err != nil || out != want {
				t.Fatalf("go version: %v, %q, want %q", err, out, want)
			}

			tree := filepath.Join(root, "go/src/k8s.io/kubernetes")
			if err := kubetest.Release12(tree, ""); err != nil {
				t.Fatal(err)
			}
			out, err = within(t, root, img, `
				cd /go/src/k8s.io/kubernetes
				export KUBE_OUTPUT_SUBPATH=_output/dockerized KUBE_GIT_VERSION_FILE=/version
				echo "KUBE_GIT_COMMIT='abc' KUBE_GIT_TREE_STATE='clean' KUBE_GIT_VERSION='v1.2.3'" >/version
				hack/build-go.sh -v cmd/kubelet
				_output/dockerized/bin/linux/*/kubelet --version`)
			if err != nil || !strings.HasSuffix(out, "\nKubernetes v1.2.3\n") {
				t.Errorf("build: %v\n%s", err, out)
			}
			// Compiled anew for no reason, every build would take the longer.
			for _, line := range strings.Split(out, "\n") {
				if c.compiled && (line == "runtime" || line == "fmt") {
					t.Errorf("the standard library's %s was compiled", line)
				}
			}
		})
	}
}

func TestCrossOptions(t *testing.T) {
	read := func(img v1.Image, name string) (string, bool) {
		text, found := "", false
		each(t, img, func(header *tar.Header, content io.Reader) {
			if header.Name == name {
				bytes, err := io.ReadAll(content)
				if err != nil {
					t.Fatal(err)
				}
				text, found = string(bytes), true
			}
		})
		return text, found
	}
	config := func(img v1.Image) *v1.ConfigFile {
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		return config
	}

	claimed := cross(t, mirrortest.CrossOptions{Claim: "go1.6.3"})
	if got, _ := read(claimed, "usr/local/go/VERSION"); got != "go1.6.3" {
		t.Errorf("VERSION holds %q", got)
	}
	if env := strings.Join(config(claimed).Config.Env, " "); !strings.Contains(env, "GOLANG_VERSION=1.6.3") {
		t.Errorf("environment: %s", env)
	}

	small := cross(t, mirrortest.CrossOptions{Arch: "s390x", Without: []string{"go", "bash", "tar"}})
	if got := config(small).Architecture; got != "s390x" {
		t.Errorf("architecture %s", got)
	}
	each(t, small, func(header *tar.Header, _ io.Reader) {
		switch base := filepath.Base(header.Name); {
		case base == "bash", base == "sh", base == "tar", strings.HasPrefix(header.Name, "usr/local/go"):
			t.Errorf("%s is in an image without bash, tar and go", header.Name)
		}
	})

	// The same host gives the same image.
	again := cross(t, mirrortest.CrossOptions{Arch: "s390x", Without: []string{"tar", "go", "bash"}})
	one, err := small.Digest()
	if err != nil {
		t.Fatal(err)
	}
	two, err := again.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if one != two {
		t.Errorf("made twice: %s and %s", one, two)
	}

	if _, err := mirrortest.Cross(mirrortest.CrossOptions{GOROOT: t.TempDir()}); err == nil {
		t.Error("an empty directory was taken for a Go toolchain")
	}
}

func TestGoToolchainUnknown(t *testing.T) {
	if _, err := mirrortest.GoToolchain(context.Background(), "1.999.0"); err == nil {
		t.Error("got Go 1.999.0")
	}
}
