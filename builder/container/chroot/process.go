package chroot

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"

	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var limits = map[string]int{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE,
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME": unix.RLIMIT_RTTIME, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
}

func setLimit(l specs.POSIXRlimit) error {
	resource, ok := limits[l.Type]
	if !ok {
		return fmt.Errorf("unknown limit %s", l.Type)
	}
	if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: l.Soft, Max: l.Hard}); err != nil {
		return fmt.Errorf("set the limit %s to %d: %w", l.Type, l.Hard, err)
	}
	return nil
}

// setUser makes this thread the command's user, with the capabilities the
// command is to have and no other way to any.
func setUser(p *specs.Process) error {
	caps, err := capability.NewPid2(0)
	if err != nil {
		return fmt.Errorf("read this process's capabilities: %w", err)
	}
	if p.Capabilities != nil {
		for kind, names := range map[capability.CapType][]string{
			capability.BOUNDING: p.Capabilities.Bounding, capability.PERMITTED: p.Capabilities.Permitted,
			capability.EFFECTIVE: p.Capabilities.Effective, capability.INHERITABLE: p.Capabilities.Inheritable,
			capability.AMBIENT: p.Capabilities.Ambient,
		} {
			caps.Clear(kind)
			for _, name := range names {
				c, err := capabilityNamed(name)
				if err != nil {
					return err
				}
				caps.Set(kind, c)
			}
		}
		// It takes a capability that is about to go.
		if err := caps.Apply(capability.BOUNDS); err != nil {
			return fmt.Errorf("set the capability bounding set: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	if err := setGroups(p.User); err != nil {
		return err
	}
	// The calls of package syscall change every thread and wait for each; this
	// one is the only one that matters.
	uid, gid := uintptr(p.User.UID), uintptr(p.User.GID)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("become group %d: %w", gid, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("become user %d: %w", uid, errno)
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keep no capabilities: %w", err)
	}
	if p.Capabilities != nil {
		if err := caps.Apply(capability.CAPS | capability.AMBS); err != nil {
			return fmt.Errorf("set the capabilities: %w", err)
		}
	}
	return nil
}

func capabilityNamed(name string) (capability.Cap, error) {
	for _, c := range capability.ListKnown() {
		if strings.EqualFold("CAP_"+c.String(), name) {
			return c, nil
		}
	}
	return 0, fmt.Errorf("unknown capability %s", name)
}

// setGroups sets the supplementary groups. In a user namespace of one id the
// kernel lets nobody do that, see user_namespaces(7); the command then has
// those of kbuild, all of which are the overflow group inside.
func setGroups(user specs.User) error {
	groups := append(slices.Clone(user.AdditionalGids), user.GID)
	var err error
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0)
	if errno != 0 {
		err = errno
	}
	if errors.Is(err, unix.EPERM) {
		if data, errRead := os.ReadFile("/proc/self/setgroups"); errRead == nil && strings.TrimSpace(string(data)) == "deny" {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("set the additional groups %v: %w", groups, err)
	}
	return nil
}
