package namespace

import (
	"fmt"
	"os"

	"github.com/moby/sys/capability"
)

// The capabilities that root needs to do without a user namespace: to mount, to
// set up loopback, to unpack layers and to make a container of them. Root of a
// container has some of them at most; in a user namespace of its own it has all.
var rootNeeds = []capability.Cap{
	capability.CAP_SYS_ADMIN, capability.CAP_NET_ADMIN, capability.CAP_SYS_CHROOT, capability.CAP_MKNOD,
	capability.CAP_CHOWN, capability.CAP_DAC_OVERRIDE, capability.CAP_FOWNER, capability.CAP_FSETID,
	capability.CAP_SETUID, capability.CAP_SETGID, capability.CAP_SETPCAP, capability.CAP_SETFCAP, capability.CAP_KILL,
}

// Needed reports whether the worker will be in a user namespace of its own: a
// user always is, and root where it lacks a capability.
func Needed() (bool, error) {
	if os.Geteuid() != 0 {
		return true, nil
	}
	has, err := effective()
	if err != nil {
		return false, err
	}
	for _, c := range rootNeeds {
		if !has(c) {
			return true, nil
		}
	}
	return false, nil
}

// effective returns a function that tells which capabilities this process has.
func effective() (func(capability.Cap) bool, error) {
	caps, err := capability.NewPid2(0)
	if err == nil {
		err = caps.Load()
	}
	if err != nil {
		return nil, fmt.Errorf("read this process's capabilities: %w", err)
	}
	return func(c capability.Cap) bool { return caps.Get(capability.EFFECTIVE, c) }, nil
}
