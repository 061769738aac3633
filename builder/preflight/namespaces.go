package preflight

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// kinds are the namespaces that a container has, each of which a setting limits,
// see namespaces(7).
var kinds = []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}

// tryUserNamespace starts true(1) in a user namespace, with those that the
// worker always has; the kernel's answer is the error.
func tryUserNamespace() error {
	program, err := exec.LookPath("true")
	if err != nil {
		program = "/bin/true"
	}
	cmd := exec.Command(program)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	err = cmd.Run()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func userNamespaces(h Host) (Severity, string, string) {
	if !h.Rootless {
		return Fine, "not needed as root", ""
	}
	err := h.UserNS()
	if err == nil {
		return Fine, "can be made", ""
	}
	found := fmt.Sprintf("cannot be made: %v", err)
	if why := h.Unmappable(); why != nil {
		return Fatal, fmt.Sprintf("cannot be made: %v", why),
			"give it (Kubernetes: securityContext.capabilities.add: [SETFCAP]; docker and podman: --cap-add SETFCAP), " +
				"or run as a user other than root"
	}
	for _, kind := range kinds {
		if name := "user/max_" + kind + "_namespaces"; h.setting(name) == "0" {
			name = strings.ReplaceAll(name, "/", ".")
			return Fatal, "disabled: " + name + " is 0", h.root("sysctl -w " + name + "=15000")
		}
	}
	switch {
	case h.setting("kernel/unprivileged_userns_clone") == "0":
		return Fatal, "disabled: kernel.unprivileged_userns_clone is 0",
			h.root("sysctl -w kernel.unprivileged_userns_clone=1")
	case h.filtered() && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS)):
		return Fatal, "cannot be made: a seccomp filter forbids unshare", h.unfiltered()
	case h.setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return Fatal, found + ", AppArmor restricts them", h.appArmorProfile()
	case errors.Is(err, unix.ENOSPC):
		return Fatal, found + ": there are too many, or they are nested too deep",
			"see user.max_user_namespaces and the like in namespaces(7)"
	}
	return Fatal, found, "the container or sandbox around kbuild forbids them; " + h.unfiltered()
}

// root is a command as root.
func (h Host) root(command string) string {
	if h.UID == 0 {
		return command
	}
	return "sudo " + command
}

// setting reads a setting of the kernel's, see proc_sys(5).
func (h Host) setting(name string) string {
	data, err := h.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// filtered reports whether this process is under a filter of system calls, see
// proc_pid_status(5).
func (h Host) filtered() bool {
	data, err := h.ReadFile("/proc/self/status")
	return err == nil && strings.Contains(string(data), "\nSeccomp:\t2\n")
}

func (h Host) unfiltered() string {
	return "use another filter (Kubernetes: securityContext.seccompProfile.type: Unconfined, " +
		"or a Localhost profile that allows unshare and mount; " +
		"docker: --security-opt seccomp=unconfined)"
}

func (h Host) appArmorProfile() string {
	return fmt.Sprintf("printf 'abi <abi/4.0>,\\nprofile kbuild \"%s\" flags=(unconfined) { userns, }\\n' | %s && %s",
		h.Executable, h.root("tee /etc/apparmor.d/kbuild"), h.root("apparmor_parser -r /etc/apparmor.d/kbuild"))
}
