package container

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	containersconf "github.com/containers/common/pkg/config"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestEnvironment(t *testing.T) {
	got := environment([]string{"PATH=/bin", "A=1"}, []string{"A=2", "no value", "B=x=y", "AB="}, []string{"PATH=/a:/b"})
	if want := []string{"A=2", "B=x=y", "AB=", "PATH=/a:/b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The container is confined: what an image or the options can change, and what
// they cannot.
func TestContainerSpec(t *testing.T) {
	host, root, source := Host{Dir: t.TempDir()}, t.TempDir(), t.TempDir()
	b := settings{Env: []string{"PATH=/go/bin", "X=1"}, Workdir: "/go", ProcessLabel: "process", MountLabel: "mount"}
	spec, err := containerSpec(b, root, []string{"bash"}, Options{
		Environment: []string{"X=2"}, Network: NetworkNone, Host: host,
		Mounts: []Mount{{Host: source, Container: "/go/src/x"}, {Host: source, Container: "/go"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if p := spec.Process; p.Cwd != "/go" || p.User.UID != 0 || !slices.Contains(p.Env, "X=2") || slices.Contains(p.Env, "X=1") ||
		!slices.Contains(p.Env, "PATH=/go/bin") || p.SelinuxLabel != "process" || spec.Linux.MountLabel != "mount" {
		t.Errorf("%+v", p)
	}
	if c := spec.Process.Capabilities; !slices.Equal(c.Bounding, containersconf.DefaultCapabilities) || !slices.Equal(c.Effective, containersconf.DefaultCapabilities) || c.Ambient != nil || c.Inheritable != nil {
		t.Errorf("capabilities %+v", c)
	}
	if spec.Version != "1.0.2" || !slices.Contains(spec.Process.Env, "HOME=/") {
		t.Errorf("version %s, environment %q", spec.Version, spec.Process.Env)
	}
	if spec.Linux.Seccomp == nil || spec.Linux.Seccomp.DefaultAction == specs.ActAllow {
		t.Errorf("no seccomp profile: %+v", spec.Linux.Seccomp)
	}
	for _, hidden := range []string{"/proc/kcore", "/proc/keys"} {
		if !slices.Contains(spec.Linux.MaskedPaths, hidden) {
			t.Errorf("%s is not hidden: %q", hidden, spec.Linux.MaskedPaths)
		}
	}
	if !slices.Contains(spec.Linux.ReadonlyPaths, "/proc/sys") {
		t.Errorf("/proc/sys is not read-only: %q", spec.Linux.ReadonlyPaths)
	}
	var namespaces, mounts []string
	for _, n := range spec.Linux.Namespaces {
		namespaces = append(namespaces, string(n.Type))
	}
	for _, m := range spec.Mounts {
		mounts = append(mounts, m.Destination)
	}
	if slices.Sort(namespaces); !slices.Equal(namespaces, []string{"cgroup", "ipc", "mount", "network", "pid", "uts"}) {
		t.Errorf("namespaces %q", namespaces)
	}
	if order := strings.Join(mounts, " "); !strings.HasSuffix(order, "/sys/fs/cgroup /go /etc/hosts /go/src/x") {
		t.Errorf("mounts %q", mounts)
	}

	spec, err = containerSpec(settings{}, root, nil, Options{Network: NetworkHost, Host: host, Workdir: "/w"})
	if err != nil {
		t.Fatal(err)
	}
	if spec.Process.Cwd != "/w" || slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace }) {
		t.Errorf("with the host's network: %+v, %+v", spec.Process, spec.Linux.Namespaces)
	}
	if !slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool { return m.Source == "/etc/hosts" && m.Destination == "/etc/hosts" }) {
		t.Errorf("no host's names: %+v", spec.Mounts)
	}
}

func TestSpecMounts(t *testing.T) {
	dir, root, host := t.TempDir(), t.TempDir(), t.TempDir()
	filestest.Write(t, filepath.Join(host, "file"), "x")
	// Links of the image are resolved in it, also one that leads nowhere.
	for link, to := range map[string]string{"in": "/elsewhere", "etc": "usr/etc"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	given := []Mount{{host, "/in/a", false}, {filepath.Join(host, "file"), "/b", true}, {host, "/in/a/below", false}}
	for network, hosts := range map[Network]bool{NetworkNone: true, "": true, NetworkHost: false} {
		mounts := slices.Clip(slices.Clone(given))
		list, err := specMounts(root, Options{Mounts: mounts[:3:3], Network: network, Host: Host{Dir: dir}})
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
		want := []string{filepath.Join(host, "file") + ">/b rbind,rprivate,nosuid,nodev,ro", host + ">/elsewhere/a rbind,rprivate,nosuid,nodev,rw"}
		if hosts {
			want = append(want, filepath.Join(dir, "hosts")+">/usr/etc/hosts rbind,rprivate,nosuid,nodev,ro")
		}
		want = append(want, host+">/elsewhere/a/below rbind,rprivate,nosuid,nodev,rw")
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", network, got, want)
		}
		if !slices.Equal(mounts, given) {
			t.Errorf("%q: the caller's list became %v", network, mounts)
		}
	}
	if _, err := specMounts(root, Options{Host: Host{Dir: filepath.Join(dir, "gone")}}); err == nil || !strings.Contains(err.Error(), "hosts file") {
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
