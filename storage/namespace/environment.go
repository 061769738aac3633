package namespace

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/containers/storage/pkg/homedir"
	"golang.org/x/sys/unix"
)

// nowhere is where the libraries look for a user's settings when his home
// directory cannot hold any: Debian's name for a home that is not there.
const nowhere = "/nonexistent/.config"

// environment is that of the worker of a user: where a directory that the
// libraries insist on cannot be used, it names another. HOME is / or is not
// there for the arbitrary user ids of OpenShift, Debian's nobody and systemd's
// DynamicUser; XDG_RUNTIME_DIR is another user's after su(1), and gone after a
// logout.
func environment() []string {
	var env []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir == "" || RuntimeDirProblem(dir) != "" {
		// Inside, the libraries would look for the credentials of uid 0, in a
		// directory that real root may have closed; podman does the same.
		os.Unsetenv("XDG_RUNTIME_DIR") //nolint:errcheck // of a fixed name
		if own, err := homedir.GetRuntimeDir(); err == nil && RuntimeDirProblem(own) == "" {
			env = append(env, "XDG_RUNTIME_DIR="+own)
		}
	}
	if os.Getenv("XDG_CONFIG_HOME") == "" && HomeProblem(os.Getenv("HOME")) != "" {
		env = append(env, "XDG_CONFIG_HOME="+nowhere)
	}
	return append(os.Environ(), env...)
}

// RuntimeDirProblem says why a directory cannot hold what lives as long as a
// session, or "", see XDG_RUNTIME_DIR in the base directory specification.
func RuntimeDirProblem(dir string) string {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return "is not there"
	case !info.IsDir():
		return "is not a directory"
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return "is another user's"
	}
	if unix.Access(dir, unix.W_OK|unix.X_OK) != nil {
		return "cannot be written to"
	}
	return ""
}

// HomeProblem says why a home directory cannot hold a user's settings, or "".
func HomeProblem(home string) string {
	if home == "" {
		return "" // the user database has it
	}
	if !filepath.IsAbs(home) {
		return "is not an absolute path"
	}
	info, err := os.Stat(home)
	switch {
	case err != nil:
		return "is not there"
	case !info.IsDir():
		return "is not a directory"
	}
	if unix.Access(filepath.Join(home, ".config"), unix.W_OK|unix.X_OK) == nil {
		return ""
	}
	if unix.Access(home, unix.W_OK|unix.X_OK) != nil {
		return "cannot be written to"
	}
	return ""
}
