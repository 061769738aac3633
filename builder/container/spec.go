package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containers/buildah"
	"github.com/containers/buildah/pkg/chrootuser"
	containersconf "github.com/containers/common/pkg/config"
	"github.com/containers/common/pkg/seccomp"
	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hostname is what a container is called.
const hostname = "kube-build"

// containerSpec describes to an OCI runtime the container in which a command
// runs, mounted at root: confined as buildah and podman confine theirs, by the
// same capabilities, seccomp profile and hidden paths, and with namespaces of
// its own, whatever containers.conf says; only the network may be the host's.
func containerSpec(b *buildah.Builder, root string, command []string, opts Options) (*specs.Spec, error) {
	user, err := userIn(b, root)
	if err != nil {
		return nil, err
	}
	if opts.Network == NetworkHost {
		for _, file := range []string{"/etc/hosts", "/etc/resolv.conf"} {
			if _, err := os.Stat(file); err == nil {
				opts.Mounts = append(slices.Clip(opts.Mounts), Mount{Host: file, Container: file, ReadOnly: true})
			}
		}
	}
	mounts, err := specMounts(opts)
	if err != nil {
		return nil, err
	}
	cwd := opts.Workdir
	for _, dir := range []string{b.WorkDir(), "/"} {
		if cwd == "" {
			cwd = dir
		}
	}
	system, err := systemMounts(opts.Network)
	if err != nil {
		return nil, err
	}
	own := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + hostname}
	if opts.Terminal {
		own = append(own, "TERM=xterm") // as docker run -t
	}
	spec := &specs.Spec{
		Version:  specs.Version,
		Hostname: hostname,
		Root:     &specs.Root{Path: root},
		Process: &specs.Process{
			Terminal:     opts.Terminal,
			User:         user,
			Args:         command,
			Env:          environment(own, b.Env(), opts.Environment),
			Cwd:          cwd,
			Capabilities: &specs.LinuxCapabilities{Bounding: b.Capabilities},
			Rlimits:      limits(),
			SelinuxLabel: b.ProcessLabel,
		},
		Mounts: append(system, mounts...),
		Linux: &specs.Linux{
			// Devices are those that every runtime makes.
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
			},
			MaskedPaths:   containersconf.DefaultMaskedPaths(),
			ReadonlyPaths: containersconf.DefaultReadOnlyPaths,
			MountLabel:    b.MountLabel,
		},
	}
	if user.UID == 0 {
		spec.Process.Capabilities.Effective, spec.Process.Capabilities.Permitted = b.Capabilities, b.Capabilities
	}
	if opts.Network != NetworkHost {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	// What the profile allows depends on the capabilities.
	if spec.Linux.Seccomp, err = seccomp.GetDefaultProfile(spec); err != nil {
		return nil, fmt.Errorf("read the seccomp profile: %w", err)
	}
	return spec, nil
}

// rootUser is root in numbers, whom nobody has to look up.
const rootUser = "0:0"

// userOf is whom a container's command runs as: root, where the image names
// nobody. Looking his groups up in the image would start this program three
// times.
func userOf(b *buildah.Builder) string {
	if user := b.User(); user != "" && user != "root" && user != "0" {
		return user
	}
	return rootUser
}

// userIn is that user by the image's own /etc/passwd and /etc/group.
func userIn(b *buildah.Builder, root string) (specs.User, error) {
	name := userOf(b)
	if name == rootUser {
		return specs.User{AdditionalGids: []uint32{0}}, nil
	}
	uid, gid, _, err := chrootuser.GetUser(root, name)
	if err != nil {
		return specs.User{}, fmt.Errorf("the image's user %s: %w", name, err)
	}
	groups := []uint32{gid}
	if !strings.Contains(name, ":") {
		more, err := chrootuser.GetAdditionalGroupsForUser(root, uint64(uid))
		// A number need not stand in /etc/passwd.
		if err != nil && !errors.Is(err, chrootuser.ErrNoSuchUser) {
			return specs.User{}, fmt.Errorf("the groups of the image's user %s: %w", name, err)
		}
		groups = append(groups, more...)
	}
	return specs.User{UID: uid, GID: gid, AdditionalGids: groups}, nil
}

// environment joins lists of NAME=value; of a name set twice the last value
// counts.
func environment(lists ...[]string) []string {
	var env []string
	for _, variable := range slices.Concat(lists...) {
		name, _, ok := strings.Cut(variable, "=")
		if !ok {
			continue
		}
		env = slices.DeleteFunc(env, func(other string) bool { return strings.HasPrefix(other, name+"=") })
		env = append(env, variable)
	}
	return env
}

// limits are the limits of this process, so that nothing is raised, which a
// root without CAP_SYS_RESOURCE may not.
func limits() []specs.POSIXRlimit {
	var list []specs.POSIXRlimit
	for _, l := range ulimits() {
		list = append(list, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(l.name), Hard: l.max, Soft: l.max})
	}
	return list
}

// A ulimit is a limit of this process, which it may raise to the maximum.
type ulimit struct {
	name string // "nofile"
	max  uint64
}

func ulimits() []ulimit {
	var list []ulimit
	for _, l := range []struct {
		name     string
		resource int
	}{{"nofile", unix.RLIMIT_NOFILE}, {"nproc", unix.RLIMIT_NPROC}} {
		var r unix.Rlimit
		if unix.Getrlimit(l.resource, &r) == nil {
			list = append(list, ulimit{l.name, r.Max})
		}
	}
	return list
}

// systemMounts are those that every container has. The host's network comes
// with the host's view of /sys, since without root nobody may mount another's.
func systemMounts(network Network) ([]specs.Mount, error) {
	single, err := namespace.SingleID()
	if err != nil {
		return nil, err
	}
	pts := []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}
	if !single {
		pts = append(pts, "gid=5") // the group tty
	}
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: pts},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
	}
	if network == NetworkHost && namespace.Rootless() {
		return append(mounts, specs.Mount{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"}}), nil
	}
	return append(mounts,
		specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"rprivate", "nosuid", "noexec", "nodev", "relatime", "rw"}}), nil
}

// specMounts turns mounts into the runtime's form; a container without network
// gets a hosts file, which nothing else gives it.
func specMounts(opts Options) ([]specs.Mount, error) {
	mounts := slices.Clone(opts.Mounts)
	if opts.Network != NetworkHost {
		hosts := filepath.Join(opts.Host.Dir, "hosts")
		if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 "+hostname+"\n"), 0o644); err != nil {
			return nil, fmt.Errorf("write a hosts file: %w", err)
		}
		mounts = append(mounts, Mount{Host: hosts, Container: "/etc/hosts", ReadOnly: true})
	}
	var list []specs.Mount
	for _, m := range mounts {
		list = append(list, bind(m))
	}
	// What is mounted in a mount comes after it.
	slices.SortStableFunc(list, func(a, b specs.Mount) int {
		return strings.Count(filepath.Clean(a.Destination), "/") - strings.Count(filepath.Clean(b.Destination), "/")
	})
	return list, nil
}

func bind(m Mount) specs.Mount {
	mode := "rw"
	if m.ReadOnly {
		mode = "ro"
	}
	return specs.Mount{Type: "bind", Source: m.Host, Destination: m.Container, Options: []string{"rbind", "rprivate", mode}}
}
