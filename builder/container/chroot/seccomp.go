package chroot

import (
	"fmt"

	"github.com/containers/common/pkg/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// setSeccomp puts this thread, and so the command, under a filter of system
// calls.
func setSeccomp(profile *specs.LinuxSeccomp, noNewPrivileges bool) error {
	if profile == nil {
		return nil
	}
	if err := loadFilter(profile, noNewPrivileges); err != nil {
		return fmt.Errorf("set the container's system call filter: %w", err)
	}
	return nil
}

func loadFilter(profile *specs.LinuxSeccomp, noNewPrivileges bool) error {
	filter, err := seccomp.BuildFilter(profile)
	if err != nil {
		return err
	}
	defer filter.Release()
	if err := filter.SetNoNewPrivsBit(noNewPrivileges); err != nil {
		return err
	}
	return filter.Load()
}
