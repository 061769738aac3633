package container

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containers/buildah"
	containersconf "github.com/containers/common/pkg/config"
	"github.com/kbuild/kbuild/builder/container/chroot"
	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hostname is what a container is called.
const hostname = "kube-build"

// specVersion is the lowest version of the OCI runtime specification that says
// all that is said here: crun 1.8, that of Debian 12, takes no higher one.
const specVersion = "1.0.2"

// settings are what an image, and the store, say of a container.
type settings struct {
	User, Workdir            string
	Env                      []string
	ProcessLabel, MountLabel string // of SELinux
}

func settingsOf(b *buildah.Builder) settings {
	return settings{
		User: b.User(), Workdir: b.WorkDir(), Env: b.Env(),
		ProcessLabel: b.ProcessLabel, MountLabel: b.MountLabel,
	}
}

// containerSpec describes to an OCI runtime the container in which a command
// runs, mounted at root: confined as buildah and podman confine theirs, by the
// same capabilities, seccomp profile and hidden paths, and with namespaces of
// its own, whatever containers.conf says; only the network may be the host's.
func containerSpec(image settings, root string, command []string, opts Options) (*specs.Spec, error) {
	who, err := accountIn(root, image.User)
	if err != nil {
		return nil, err
	}
	caps, err := capabilities()
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
	mounts, err := specMounts(root, opts)
	if err != nil {
		return nil, err
	}
	cwd := opts.Workdir
	for _, dir := range []string{image.Workdir, "/"} {
		if cwd == "" {
			cwd = dir
		}
	}
	system, err := systemMounts(opts.Network)
	if err != nil {
		return nil, err
	}
	own := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + hostname, "HOME=" + who.Home,
	}
	if opts.Terminal {
		own = append(own, "TERM=xterm") // as docker run -t
	}
	spec := &specs.Spec{
		Version:  specVersion,
		Hostname: hostname,
		Root:     &specs.Root{Path: root},
		Process: &specs.Process{
			Terminal:     opts.Terminal,
			User:         who.User,
			Args:         command,
			Env:          environment(own, image.Env, opts.Environment),
			Cwd:          cwd,
			Capabilities: &specs.LinuxCapabilities{Bounding: caps},
			Rlimits:      limits(),
			SelinuxLabel: image.ProcessLabel,
		},
		Mounts: append(system, mounts...),
		Linux: &specs.Linux{
			// Devices are those that every runtime makes.
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
				{Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
			},
			MaskedPaths:   containersconf.DefaultMaskedPaths(),
			ReadonlyPaths: containersconf.DefaultReadOnlyPaths,
			MountLabel:    image.MountLabel,
		},
	}
	if who.UID == 0 {
		spec.Process.Capabilities.Effective, spec.Process.Capabilities.Permitted = caps, caps
	}
	if opts.Network != NetworkHost {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	if spec.Linux.Seccomp, err = filter(spec); err != nil {
		return nil, err
	}
	return spec, nil
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
		{
			Destination: "/dev", Type: "tmpfs", Source: "tmpfs",
			Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"},
		},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: pts},
		{
			Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"},
		},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
	}
	if network == NetworkHost && namespace.Rootless() {
		return append(mounts,
			specs.Mount{
				Destination: "/sys", Type: "bind", Source: "/sys",
				Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"},
			},
			// Of what is mounted below it nothing becomes read-only with it.
			specs.Mount{
				Destination: "/sys/fs/cgroup", Type: "tmpfs", Source: "tmpfs",
				Options: []string{"nosuid", "noexec", "nodev", "ro", "size=0k"},
			}), nil
	}
	mounts = append(mounts, specs.Mount{
		Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"},
	})
	if hasCgroups() {
		// Whoever writes to version 1 as root of the host runs programs there
		// (release_agent).
		mounts = append(mounts, specs.Mount{
			Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
			Options: []string{"rprivate", "nosuid", "noexec", "nodev", "relatime", "ro"},
		})
	}
	return mounts, nil
}

// hasCgroups reports whether cgroups are mounted in the usual place; without
// them a runtime mounts none.
func hasCgroups() bool {
	data, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && strings.Contains(string(data), " - cgroup")
}

// specMounts turns mounts into the runtime's form; a container without network
// gets a hosts file, which nothing else gives it. Where they go in the container
// that is mounted at root is looked up, and made, here: what the runtime mounts
// at has no links in it.
func specMounts(root string, opts Options) ([]specs.Mount, error) {
	mounts := slices.Clone(opts.Mounts)
	if opts.Network != NetworkHost {
		hosts := filepath.Join(opts.Host.Dir, "hosts")
		text := "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 " + hostname + "\n"
		if err := os.WriteFile(hosts, []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("write a hosts file: %w", err)
		}
		mounts = append(mounts, Mount{Host: hosts, Container: "/etc/hosts", ReadOnly: true})
	}
	// What is mounted in a mount comes after it.
	slices.SortStableFunc(mounts, func(a, b Mount) int {
		return strings.Count(filepath.Clean(a.Container), "/") - strings.Count(filepath.Clean(b.Container), "/")
	})
	var list []specs.Mount
	for _, m := range mounts {
		bound, err := bind(m)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(list, func(outer specs.Mount) bool {
			return strings.HasPrefix(bound.Destination, outer.Destination+"/")
		}) {
			if bound.Destination, err = chroot.Place(root, m.Container, bound.Source); err != nil {
				return nil, err
			}
		}
		list = append(list, bound)
	}
	return list, nil
}

// bind is a mount in the runtime's form. Flags of the file system that it comes
// from are kept: in a user namespace the kernel lets nobody take them away, and
// not every runtime knows.
func bind(m Mount) (specs.Mount, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(m.Host, &st); err != nil {
		return specs.Mount{}, fmt.Errorf("mount %s: %w", m.Host, err)
	}
	mode := "rw"
	if m.ReadOnly || st.Flags&unix.ST_RDONLY != 0 {
		mode = "ro"
	}
	options := []string{"rbind", "rprivate", "nosuid", "nodev", mode}
	if st.Flags&unix.ST_NOEXEC != 0 {
		options = append(options, "noexec")
	}
	return specs.Mount{Type: "bind", Source: m.Host, Destination: filepath.Clean(m.Container), Options: options}, nil
}
