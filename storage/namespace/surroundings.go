package namespace

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// The numbers of the namespaces in which a machine starts are fixed, see
// include/linux/proc_ns.h.
const (
	firstPIDNamespace  = 0xEFFFFFFC
	firstUserNamespace = 0xEFFFFFFD
)

// InContainer reports whether kbuild was started in a container, a pod or
// another sandbox with namespaces of its own, whose walls stand around all that
// it starts.
func InContainer() bool { return strings.HasPrefix(Surroundings(), inContainer) }

const inContainer = "container "

func contained() bool {
	for _, file := range []string{"/run/.containerenv", "/.dockerenv"} {
		if _, err := os.Lstat(file); err == nil {
			return true
		}
	}
	return os.Getenv("container") != "" || os.Getenv("KUBERNETES_SERVICE_HOST") != "" ||
		another("pid", firstPIDNamespace) || another("user", firstUserNamespace)
}

func another(kind string, first uint64) bool {
	info, err := os.Stat("/proc/self/ns/" + kind)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Ino != first
}

// SurroundingsVariable carries the answer of [Surroundings] to the worker,
// whose own namespaces are always new.
const SurroundingsVariable = "_KBUILD_SURROUNDINGS"

// Surroundings names the user and mount namespace in which kbuild was started,
// and what is hidden there of /proc and /sys. What is remembered of a host holds
// only there: a container may share the user's directories with its host.
func Surroundings() string {
	if name := os.Getenv(SurroundingsVariable); name != "" {
		return name
	}
	var name strings.Builder
	if contained() {
		name.WriteString(inContainer)
	}
	for _, kind := range []string{"user", "mnt"} {
		link, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			link = kind + ":unknown"
		}
		name.WriteString(link)
	}
	h := sha256.New()
	// See proc_pid_mountinfo(5): the fifth field is the mount point.
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return name.String()
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) > 5 && (strings.HasPrefix(fields[4], "/proc") || strings.HasPrefix(fields[4], "/sys")) {
			fmt.Fprintln(h, fields[4], fields[5])
		}
	}
	name.WriteString(" " + hex.EncodeToString(h.Sum(nil))[:16])
	return name.String()
}
