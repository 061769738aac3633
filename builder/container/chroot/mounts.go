package chroot

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mountAll mounts what a container's specification says, and makes the
// container's root this process's own. The mount namespace is the container's.
func mountAll(spec *specs.Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts inside the container: %w", err)
	}
	dir := spec.Root.Path
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount the container's root %s: %w", dir, err)
	}
	r, err := openRoot(dir)
	if err != nil {
		return err
	}
	defer r.dir.Close()
	for _, m := range spec.Mounts {
		if err := r.mount(m); err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
		if path.Clean(m.Destination) == "/dev" && m.Type == "tmpfs" {
			if err := r.devices(spec.Linux.Devices); err != nil {
				return err
			}
		}
	}
	for _, name := range spec.Linux.ReadonlyPaths {
		if err := r.readOnly(name); err != nil {
			return fmt.Errorf("make %s read-only: %w", name, err)
		}
	}
	for _, name := range spec.Linux.MaskedPaths {
		if err := r.mask(name); err != nil {
			return fmt.Errorf("hide %s: %w", name, err)
		}
	}
	return r.enter(spec.Root.Readonly)
}

// options are mount options as the specification has them, see mount(8).
type options struct {
	flags     uintptr
	recursive bool
	data      []string
}

var flagNames = map[string]uintptr{
	"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID,
	"nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC, "noatime": unix.MS_NOATIME,
	"nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
	"strictatime": unix.MS_STRICTATIME, "sync": unix.MS_SYNCHRONOUS,
	"dirsync": unix.MS_DIRSYNC,
}

// ordinary are options that say what is so anyway, or are of no account here, as
// every kind of propagation is: nothing that is mounted in a container is seen
// elsewhere.
var ordinary = []string{
	"bind", "rw", "suid", "dev", "exec", "async", "defaults", "atime", "norelatime", "nostrictatime",
	"private", "rprivate", "unbindable", "runbindable", "shared", "rshared", "slave", "rslave",
}

func parseOptions(list []string) options {
	var o options
	for _, option := range list {
		flag, isFlag := flagNames[option]
		switch {
		case isFlag:
			o.flags |= flag
		case option == "rbind":
			o.recursive = true
		case slices.Contains(ordinary, option):
		default:
			o.data = append(o.data, option)
		}
	}
	return o
}

func (r *root) mount(m specs.Mount) error {
	o := parseOptions(m.Options)
	switch m.Type {
	case "proc":
		return r.fresh(m, o, "/proc")
	case "sysfs":
		return r.fresh(m, o, "/sys")
	case "tmpfs":
		return r.fileSystem(m, o)
	case "devpts":
		err := r.fileSystem(m, o)
		if errors.Is(err, unix.EINVAL) {
			// In a user namespace of one id there is no group of terminals.
			o.data = slices.DeleteFunc(o.data, func(s string) bool { return strings.HasPrefix(s, "gid=") })
			err = r.fileSystem(m, o)
		}
		return err
	case "mqueue":
		// Not every kernel has it, and hardly a program misses it.
		if err := r.fileSystem(m, o); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EPERM) {
			return err
		}
		return nil
	case "cgroup":
		return r.cgroup(m, o)
	case "bind", "rbind", "":
		if m.Type == "rbind" {
			o.recursive = true
		}
		return r.bind(m.Source, m.Destination, o)
	}
	return fmt.Errorf("mounts of type %s are not supported", m.Type)
}

// fileSystem mounts a new file system.
func (r *root) fileSystem(m specs.Mount, o options) error {
	at, err := r.target(m.Destination, true)
	if err != nil {
		return err
	}
	defer at.Close()
	return unix.Mount(m.Source, handlePath(at), m.Type, o.flags, strings.Join(o.data, ","))
}

// fresh mounts proc or sysfs of the container's namespaces. In a user namespace
// the kernel refuses that where parts of the host's are hidden, as they are in
// every container (mount_too_revealing in fs/namespace.c); then the host's own
// is bound with all that hides parts of it.
func (r *root) fresh(m specs.Mount, o options, host string) error {
	err := r.fileSystem(m, o)
	if err == nil || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EBUSY) {
		return err
	}
	o.recursive = true
	return r.bind(host, m.Destination, o)
}

// cgroup mounts version 2 of cgroups, read-only. What the host has of version 1
// comes with its /sys, if at all.
func (r *root) cgroup(m specs.Mount, o options) error {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil
	}
	m.Type, m.Source = "cgroup2", "cgroup2"
	o.data, o.flags = nil, o.flags|unix.MS_RDONLY
	if err := r.fileSystem(m, o); err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}

// bind binds a file or a directory of the host.
func (r *root) bind(source, destination string, o options) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	at, err := r.target(destination, info.IsDir())
	if err != nil {
		return err
	}
	inside, err := os.Readlink(handlePath(at))
	if err != nil {
		at.Close()
		return err
	}
	flags := uintptr(unix.MS_BIND)
	if o.recursive {
		flags |= unix.MS_REC
	}
	err = unix.Mount(source, handlePath(at), "", flags, "")
	at.Close()
	if err != nil {
		return err
	}
	// The handle is of what is mounted over.
	at, err = r.open(strings.TrimPrefix(inside, r.path))
	if err != nil {
		return err
	}
	defer at.Close()
	return restrict(at, o)
}

// restrict adds flags to a mount, and with recursive to all mounts below it.
func restrict(at *os.File, o options) error {
	if o.flags == 0 {
		return nil
	}
	if o.recursive && o.flags&unix.MS_RDONLY != 0 {
		attr := unix.MountAttr{Attr_set: attributes(o.flags)}
		err := unix.MountSetattr(int(at.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr)
		if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(at.Fd()), &st); err != nil {
		return err
	}
	// In a user namespace flags that the host set cannot be taken away.
	flags := o.flags | locked(st.Flags)
	return unix.Mount("", handlePath(at), "", unix.MS_REMOUNT|unix.MS_BIND|flags, "")
}

func attributes(flags uintptr) uint64 {
	var set uint64
	for flag, attribute := range map[uintptr]uint64{
		unix.MS_RDONLY: unix.MOUNT_ATTR_RDONLY, unix.MS_NOSUID: unix.MOUNT_ATTR_NOSUID,
		unix.MS_NODEV: unix.MOUNT_ATTR_NODEV, unix.MS_NOEXEC: unix.MOUNT_ATTR_NOEXEC,
	} {
		if flags&flag != 0 {
			set |= attribute
		}
	}
	return set
}

// locked are the flags of a mount, as statfs(2) tells them, as mount(2) takes
// them.
func locked(st int64) uintptr {
	var flags uintptr
	for have, want := range map[int64]uintptr{
		unix.ST_RDONLY: unix.MS_RDONLY, unix.ST_NOSUID: unix.MS_NOSUID,
		unix.ST_NODEV: unix.MS_NODEV, unix.ST_NOEXEC: unix.MS_NOEXEC,
		unix.ST_NOATIME: unix.MS_NOATIME, unix.ST_NODIRATIME: unix.MS_NODIRATIME, unix.ST_RELATIME: unix.MS_RELATIME,
	} {
		if st&have != 0 {
			flags |= want
		}
	}
	return flags
}

// devices makes what a container has in /dev: those that every runtime makes,
// and others that the specification names, as far as the host has them.
func (r *root) devices(more []specs.LinuxDevice) error {
	names := []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}
	for _, d := range more {
		if !slices.Contains(names, d.Path) {
			names = append(names, d.Path)
		}
	}
	for _, name := range names {
		info, err := os.Lstat(name)
		if err != nil || info.Mode()&os.ModeDevice == 0 {
			continue
		}
		if err := r.bind(name, name, options{}); err != nil {
			return fmt.Errorf("make the device %s: %w", name, err)
		}
	}
	dev, err := r.open("/dev")
	if err != nil {
		return fmt.Errorf("open /dev in the container: %w", err)
	}
	defer dev.Close()
	for name, link := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := unix.Symlinkat(link, int(dev.Fd()), name); err != nil {
			return fmt.Errorf("make the link /dev/%s: %w", name, err)
		}
	}
	return nil
}

// readOnly makes a path of the container read-only, if it is there.
func (r *root) readOnly(name string) error {
	at, err := r.open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	inside, err := os.Readlink(handlePath(at))
	if err == nil {
		err = unix.Mount(handlePath(at), handlePath(at), "", unix.MS_BIND|unix.MS_REC, "")
	}
	at.Close()
	if err != nil {
		return err
	}
	if at, err = r.open(strings.TrimPrefix(inside, r.path)); err != nil {
		return err
	}
	defer at.Close()
	return restrict(at, options{flags: unix.MS_RDONLY, recursive: true})
}

// mask hides a path of the container, if it is there.
func (r *root) mask(name string) error {
	at, err := r.open(name)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer at.Close()
	info, err := at.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return unix.Mount("tmpfs", handlePath(at), "tmpfs",
			unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=0k")
	}
	null, err := os.OpenFile("/dev/null", unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return unix.Mount(handlePath(null), handlePath(at), "", unix.MS_BIND, "")
}

// enter makes the root this process's, and lets go of the host's.
func (r *root) enter(readOnly bool) error {
	if readOnly {
		if err := restrict(r.dir, options{flags: unix.MS_RDONLY}); err != nil {
			return fmt.Errorf("make the container's root read-only: %w", err)
		}
	}
	if err := unix.Fchdir(int(r.dir.Fd())); err != nil {
		return fmt.Errorf("enter the container's root: %w", err)
	}
	// The old root is mounted over the new one, see pivot_root(2).
	if err := unix.PivotRoot(".", "."); err == nil {
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return fmt.Errorf("let go of the host's root: %w", err)
		}
	} else if err := r.move(); err != nil {
		return fmt.Errorf("change the root to the container's: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter the container's root: %w", err)
	}
	return nil
}

// move is for hosts whose own root is that of the kernel's first file system,
// which pivot_root(2) refuses.
func (r *root) move() error {
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	return unix.Chroot(".")
}
