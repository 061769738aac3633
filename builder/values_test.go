package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containers/image/v5/docker/reference"
	"golang.org/x/sys/unix"
)

func TestParseIsolation(t *testing.T) {
	for s, valid := range map[string]bool{
		"": true, "oci": true, "rootless": true, "chroot": true, "OCI": false, "docker": false, "chroot ": false,
	} {
		got, err := ParseIsolation(s)
		if (err == nil) != valid || valid && string(got) != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
		if err != nil && (got != "" || !strings.Contains(err.Error(), fmt.Sprintf("%q", s))) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

func TestParseNetwork(t *testing.T) {
	for s, want := range map[string]Network{"": NetworkNone, "none": NetworkNone, "host": NetworkHost, "bridge": "", "None": "", "host\n": ""} {
		got, err := ParseNetwork(s)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", s, got, err, want)
		}
	}
}

func TestSetLogging(t *testing.T) {
	t.Cleanup(func() {
		if err := SetLogging("error", os.Stderr); err != nil {
			t.Error(err)
		}
	})
	var log strings.Builder
	for level, said := range map[string]string{"error": "", "info": "i", "debug": "d", "trace": "d"} {
		log.Reset()
		if err := SetLogging(level, &log); err != nil {
			t.Fatal(err)
		}
		logger().Info("marker-i")
		logger().Debug("marker-d")
		if strings.Contains(log.String(), "marker-i") != (said != "") || strings.Contains(log.String(), "marker-d") != (said == "d") {
			t.Errorf("%s says %q", level, log.String())
		}
	}
	var hint interface{ Hint() string }
	if err := SetLogging("loud", &log); err == nil || !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "debug") {
		t.Errorf("%v", err)
	}
}

func TestSpecMounts(t *testing.T) {
	dir := t.TempDir()
	given := []Mount{{"/host a", "/in:a", false}, {"/b", "/b", true}}
	for network, hosts := range map[Network]bool{NetworkNone: true, "": true, NetworkHost: false} {
		mounts := slices.Clip(slices.Clone(given))
		list, err := specMounts(RunOptions{Mounts: mounts[:2:2], Network: network, Host: Host{Dir: dir}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range list {
			if m.Type != "bind" {
				t.Errorf("%+v", m)
			}
			got = append(got, m.Source+">"+m.Destination+" "+strings.Join(m.Options, ","))
		}
		want := []string{"/host a>/in:a rbind,rprivate,rw", "/b>/b rbind,rprivate,ro"}
		if hosts {
			want = append(want, filepath.Join(dir, "hosts")+">/etc/hosts rbind,rprivate,ro")
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", network, got, want)
		}
		if !slices.Equal(mounts, given) {
			t.Errorf("%q: the caller's list became %v", network, mounts)
		}
	}
	if _, err := specMounts(RunOptions{Host: Host{Dir: filepath.Join(dir, "gone")}}); err == nil || !strings.Contains(err.Error(), "hosts file") {
		t.Errorf("without a directory: %v", err)
	}
}

// The limits are this process's own, so that nobody has to be allowed to raise
// them.
func TestLimits(t *testing.T) {
	common := commonOptions()
	for name, limit := range map[string]int{"nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC} {
		var r unix.Rlimit
		if err := unix.Getrlimit(limit, &r); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%s=%d:%d", name, r.Max, r.Max)
		if r.Max == unix.RLIM_INFINITY {
			want = name + "=-1:-1"
		}
		if !slices.Contains(common.Ulimit, want) {
			t.Errorf("limits %v, want %s", common.Ulimit, want)
		}
	}
}

func TestFindRuntimes(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"crun": 0o755, "runc": 0o644} {
		write(t, filepath.Join(dir, name), "#!/bin/sh\n")
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	found := FindRuntimes()
	if !slices.Contains(found, filepath.Join(dir, "crun")) || slices.Contains(found, filepath.Join(dir, "runc")) {
		t.Errorf("found %v", found)
	}
	// A runc of this host is found without its directory in PATH, and first.
	for _, file := range found {
		if !filepath.IsAbs(file) {
			t.Errorf("%s is not absolute", file)
		}
	}
	if len(found) == 2 && filepath.Base(found[0]) != "runc" {
		t.Errorf("found %v", found)
	}
}

func TestLockErrors(t *testing.T) {
	never := func() { t.Error("waits") }
	if _, err := Lock(context.Background(), filepath.Join(t.TempDir(), "gone"), never); !notExist(err) || !strings.Contains(err.Error(), "lock the tree") {
		t.Errorf("a tree that is not there: %v", err)
	}
	// Two trees, and two directories of one, are no matter to each other.
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "sub")} {
		f, err := Lock(context.Background(), d, never)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	// The lock is on the directory, whatever it is called: through a link.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := Lock(ctx, link, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("through a link: %v", err)
	}
}

// What holds the lock's file, holds the lock: the worker, after kbuild is gone.
func TestLockHandedOn(t *testing.T) {
	dir := t.TempDir()
	first, err := Lock(context.Background(), dir, func() {})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(first.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := Lock(ctx, dir, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("while another has the file: %v", err)
	}
	unix.Close(fd)
	last, err := Lock(context.Background(), dir, func() { t.Error("waits") })
	if err != nil {
		t.Fatal(err)
	}
	last.Close()
}

// Check speaks of everything that is missing, and of the image by its name.
func TestCheckWords(t *testing.T) {
	for image, test := range map[string]struct {
		base Base
		want string
	}{
		"gcr.io/google_containers/kube-cross:v1.4.2-1": {
			Base{Version: "go1.4.2", Tools: []string{"cp"}}, "gcr.io/google_containers/kube-cross:v1.4.2-1 has no bash, rsync, which the tree's scripts run",
		},
		"registry.k8s.io/build-image/kube-cross:v1.34.0-go1.24.5-bullseye.0": {
			Base{Version: "go1.23.1 X:y", Tools: []string{"cp", "bash", "rsync"}},
			"registry.k8s.io/build-image/kube-cross:v1.34.0-go1.24.5-bullseye.0 has go1.23.1 X:y, v1.34.0-go1.24.5-bullseye.0 promises 1.24",
		},
		"example.com/mine":       {Base{Version: "go1.2", Tools: []string{"cp", "bash", "rsync"}}, ""},
		"example.com/mine:v9-go": {Base{}, "example.com/mine:v9-go has no Go toolchain"},
	} {
		name, err := reference.ParseNormalizedNamed(image)
		if err != nil {
			t.Fatal(err)
		}
		_, err = test.base.Check(name, []string{"bash", "cp", "rsync"})
		var wrong *WrongBaseError
		if got := fmt.Sprint(err); test.want == "" && err != nil || test.want != "" && (got != test.want || !errors.As(err, &wrong) || !strings.Contains(wrong.Hint(), "--force")) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
}

// Where an image says its Go is comes first, then its PATH, then the usual
// places; what is no toolchain there is passed over.
func TestLookForGo(t *testing.T) {
	for _, test := range []struct {
		name  string
		files []string // VERSION files, with their directory in them
		execs []string
		links map[string]string
		env   []string
		want  string
	}{
		{name: "none"},
		{name: "GOROOT", files: []string{"/opt/a", "/usr/local/go"}, env: []string{"GOROOT=/opt/a"}, want: "/opt/a"},
		{name: "GOROOT that is wrong", files: []string{"/usr/local/go"}, env: []string{"GOROOT=/opt/a"}, want: "/usr/local/go"},
		{name: "PATH", files: []string{"/opt/b", "/usr/local/go"}, execs: []string{"/opt/b/bin/go"}, env: []string{"PATH=/usr/bin:/opt/b/bin"}, want: "/opt/b"},
		{
			name: "PATH through links", files: []string{"/opt/b"}, execs: []string{"/opt/b/bin/go"},
			links: map[string]string{"/usr/bin/go": "/etc/alternatives/go", "/etc/alternatives/go": "../../opt/b/bin/go"}, env: []string{"PATH=/usr/bin"}, want: "/opt/b",
		},
		{name: "no PATH", files: []string{"/usr/local"}, execs: []string{"/usr/local/bin/go"}, want: "/usr/local"},
		{name: "the old place", files: []string{"/usr/src/go"}, want: "/usr/src/go"},
		{name: "a distribution's", files: []string{"/usr/lib/go"}, want: "/usr/lib/go"},
		{name: "a link in a circle", files: []string{"/usr/lib/go"}, links: map[string]string{"/usr/local/go": "/usr/src/go", "/usr/src/go": "/usr/local/go"}, want: "/usr/lib/go"},
		{name: "a link above the root", links: map[string]string{"/usr/local/go": "../../../../../../../../usr/local/go"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for _, dir := range test.files {
				write(t, filepath.Join(root, dir, "VERSION"), dir)
			}
			for _, file := range test.execs {
				write(t, filepath.Join(root, file), "")
				if err := os.Chmod(filepath.Join(root, file), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for from, to := range test.links {
				if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(root, from)), 0o755), os.Symlink(to, filepath.Join(root, from))); err != nil {
					t.Fatal(err)
				}
			}
			var b Base
			b.look(root, test.env, "amd64")
			if b.GoRoot != test.want || b.Version != test.want {
				t.Errorf("version %q in %q, want %s", b.Version, b.GoRoot, test.want)
			}
		})
	}
}

// A foreign image may have anything where the version should be: reading a
// pipe would never end.
func TestLookAtPipe(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "usr/src/go/VERSION"), "go1.4.3")
	if err := os.MkdirAll(filepath.Join(root, "usr/local/go"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(root, "usr/local/go/VERSION"), 0o644); err != nil {
		t.Fatal(err)
	}
	var b Base
	b.look(root, nil, "amd64")
	if b.GoRoot != "/usr/src/go" {
		t.Errorf("%+v", b)
	}
}
