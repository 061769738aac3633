package container

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	containersconf "github.com/containers/common/pkg/config"
	"github.com/containers/common/pkg/seccomp"
	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// capabilities are those that podman and buildah give a container's root, see
// default_capabilities in containers.conf(5), as far as this process has them:
// nothing gives a container others.
func capabilities() ([]string, error) {
	own, err := capability.NewPid2(0)
	if err == nil {
		err = own.Load()
	}
	if err != nil {
		return nil, fmt.Errorf("read this process's capabilities: %w", err)
	}
	var list []string
	for _, c := range capability.ListKnown() {
		name := "CAP_" + strings.ToUpper(c.String())
		if slices.Contains(containersconf.DefaultCapabilities, name) && own.Get(capability.BOUNDING, c) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list, nil
}

// deniedCalls are what the default profile allows and no build needs: keys are
// not the container's own, whatever its namespaces, see keyrings(7).
var deniedCalls = []string{"add_key", "keyctl", "request_key"}

// profile is podman's default filter of system calls without the denied ones.
func profile() *seccomp.Seccomp {
	p := seccomp.DefaultProfile()
	for _, rule := range p.Syscalls {
		if rule.Action == seccomp.ActAllow {
			rule.Names = slices.DeleteFunc(rule.Names, func(name string) bool { return slices.Contains(deniedCalls, name) })
		}
	}
	return p
}

// filter is the profile for a container; what it allows depends on its
// capabilities.
func filter(spec *specs.Spec) (*specs.LinuxSeccomp, error) {
	f, err := seccomp.LoadProfileFromConfig(profile(), spec)
	if err != nil {
		return nil, fmt.Errorf("make the container's system call filter: %w", err)
	}
	return f, nil
}

// profileFile writes the profile for buildah, which reads it from a file.
func (h Host) profileFile() (string, error) {
	data, err := json.Marshal(profile())
	if err != nil {
		return "", fmt.Errorf("write the system call filter: %w", err)
	}
	file := filepath.Join(h.Dir, "seccomp.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return "", fmt.Errorf("write the system call filter: %w", err)
	}
	return file, nil
}
