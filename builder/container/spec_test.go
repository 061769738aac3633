package container

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containers/buildah"
	"github.com/containers/buildah/define"
	"github.com/kbuild/kbuild/storage/files/filestest"
	ociimage "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestEnvironment(t *testing.T) {
	got := environment([]string{"PATH=/bin", "A=1"}, []string{"A=2", "no value", "B=x=y", "AB="}, []string{"PATH=/a:/b"})
	if want := []string{"A=2", "B=x=y", "AB=", "PATH=/a:/b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// testBuilder is a working container of an image with a configuration.
func testBuilder(config ociimage.ImageConfig) *buildah.Builder {
	b := &buildah.Builder{
		Capabilities: []string{"CAP_CHOWN", "CAP_SETUID"}, CommonBuildOpts: &define.CommonBuildOptions{},
		ProcessLabel: "process", MountLabel: "mount",
	}
	b.OCIv1.Config = config
	return b
}

// The container is confined: what an image or the options can change, and what
// they cannot.
func TestContainerSpec(t *testing.T) {
	host := Host{Dir: t.TempDir()}
	b := testBuilder(ociimage.ImageConfig{Env: []string{"PATH=/go/bin", "X=1"}, WorkingDir: "/go"})
	spec, err := containerSpec(b, "/merged", []string{"bash"}, Options{
		Environment: []string{"X=2"}, Network: NetworkNone, Host: host,
		Mounts: []Mount{{Host: "/deep", Container: "/go/src/x"}, {Host: "/flat", Container: "/go"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if p := spec.Process; p.Cwd != "/go" || p.User.UID != 0 || !slices.Contains(p.Env, "X=2") || slices.Contains(p.Env, "X=1") ||
		!slices.Contains(p.Env, "PATH=/go/bin") || p.SelinuxLabel != "process" || spec.Linux.MountLabel != "mount" {
		t.Errorf("%+v", p)
	}
	if c := spec.Process.Capabilities; !slices.Equal(c.Bounding, b.Capabilities) || !slices.Equal(c.Effective, b.Capabilities) || c.Ambient != nil || c.Inheritable != nil {
		t.Errorf("capabilities %+v", c)
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

	spec, err = containerSpec(testBuilder(ociimage.ImageConfig{}), "/merged", nil, Options{Network: NetworkHost, Host: host, Workdir: "/w"})
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

// Whom a command runs as, by the image's own files.
func TestUserIn(t *testing.T) {
	root := t.TempDir()
	filestest.Write(t, filepath.Join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nbuilder:x:1000:1001::/:/bin/sh\n")
	filestest.Write(t, filepath.Join(root, "etc/group"), "builder:x:1001:\nextra:x:1002:root,builder\n")
	for name, want := range map[string]specs.User{
		"": {AdditionalGids: []uint32{0}}, "root": {AdditionalGids: []uint32{0}}, "0:0": {AdditionalGids: []uint32{0}},
		"builder": {UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 1002}},
		"1000":    {UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 1002}},
		"7":       {UID: 7, AdditionalGids: []uint32{0}}, // who stands nowhere
		"5:extra": {UID: 5, GID: 1002, AdditionalGids: []uint32{1002}},
	} {
		got, err := userIn(testBuilder(ociimage.ImageConfig{User: name}), root)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v, want %+v", name, got, err, want)
		}
	}
	if _, err := userIn(testBuilder(ociimage.ImageConfig{User: "stranger"}), root); err == nil || !strings.Contains(err.Error(), "the image's user stranger") {
		t.Errorf("a stranger: %v", err)
	}
}

func TestSpecMounts(t *testing.T) {
	dir := t.TempDir()
	given := []Mount{{"/host a", "/in:a", false}, {"/b", "/b", true}}
	for network, hosts := range map[Network]bool{NetworkNone: true, "": true, NetworkHost: false} {
		mounts := slices.Clip(slices.Clone(given))
		list, err := specMounts(Options{Mounts: mounts[:2:2], Network: network, Host: Host{Dir: dir}})
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
	if _, err := specMounts(Options{Host: Host{Dir: filepath.Join(dir, "gone")}}); err == nil || !strings.Contains(err.Error(), "hosts file") {
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
