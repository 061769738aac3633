package chroot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// firstFD is the first descriptor after standard error.
const firstFD = 3

// initMain is the container's first process, which is in the container's
// namespaces from its first instruction: it mounts, changes the root, gives up
// what the command is not to have, and executes the command.
func initMain() int { //nolint:unparam // it returns only where it fails
	// What belongs to a thread, such as capabilities, is the command's in the
	// end: execve(2) keeps those of the thread that calls it.
	runtime.LockOSThread()
	if len(os.Args) != 2 {
		return 1
	}
	preserved, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return 1
	}
	fd := firstFD + preserved
	if err := namespace.CloseOnExec(fd); err != nil {
		return 1
	}
	answer := os.NewFile(uintptr(fd+1), "answer")
	var t task
	if err = json.NewDecoder(os.NewFile(uintptr(fd), "task")).Decode(&t); err != nil {
		err = fmt.Errorf("read what the container is to be: %w", err)
	} else {
		err = become(t, fd+2, answer)
	}
	// Whoever waits at the other end has gone once a command waits at its gate.
	fmt.Fprint(answer, err)
	return 1
}

// become makes this process the container's command. It returns only an error.
// The descriptors of the gate and the console begin at next.
func become(t task, next int, answer *os.File) error {
	var gate, console *os.File
	if t.Gate {
		gate = os.NewFile(uintptr(next), "gate")
		next++
	}
	if t.Console {
		console = os.NewFile(uintptr(next), "console")
	}
	spec := t.Spec
	if t.Network {
		if err := namespace.LoopbackUp(); err != nil {
			return err
		}
	}
	if err := mountAll(spec); err != nil {
		return err
	}
	if spec.Hostname != "" {
		if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
			return fmt.Errorf("set the container's host name: %w", err)
		}
	}
	if console != nil {
		if err := takeTerminal(console, spec.Process.User); err != nil {
			return err
		}
	} else if err := giveStreams(spec.Process.User.UID); err != nil {
		return err
	}
	path, err := prepareProcess(spec)
	if err != nil {
		return err
	}
	if t.Die {
		// The kernel forgets it when the user or a capability changes.
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			return fmt.Errorf("set the parent death signal: %w", err)
		}
	}
	fmt.Fprint(answer, ready)
	if gate != nil {
		answer.Close()
		if _, err := gate.Read(make([]byte, 1)); err != nil {
			return err
		}
	}
	err = unix.Exec(path, spec.Process.Args, spec.Process.Env)
	return fmt.Errorf("execute %s: %w", path, err)
}

// prepareProcess gives this process everything of the command but its program,
// and returns the program's path.
func prepareProcess(spec *specs.Spec) (string, error) {
	p := spec.Process
	for _, l := range p.Rlimits {
		if err := setLimit(l); err != nil {
			return "", err
		}
	}
	// A key of the user's session keyring would be the command's, too.
	//nolint:errcheck // a kernel without keys has none to hide
	unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if err := enterDirectory(p.Cwd); err != nil {
		return "", err
	}
	umask := 0o022
	if p.User.Umask != nil {
		umask = int(*p.User.Umask)
	}
	unix.Umask(umask)
	// While all capabilities are there, a filter needs no no_new_privs.
	if err := setSeccomp(spec.Linux.Seccomp, p.NoNewPrivileges); err != nil {
		return "", err
	}
	if err := setUser(p); err != nil {
		return "", err
	}
	p.Env = withHome(p.Env, p.User.UID)
	return findProgram(p.Args[0], p.Env)
}

// giveStreams gives the pipes of the command to its user, who could not open
// /dev/stderr otherwise, as runc does.
func giveStreams(uid uint32) error {
	if uid == 0 {
		return nil
	}
	for fd := range firstFD {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
			continue
		}
		if err := unix.Fchown(fd, int(uid), -1); err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("give the command's pipes to user %d: %w", uid, err)
		}
	}
	return nil
}

// withHome adds the home directory that the image's accounts say, where the
// environment has none, as runc does.
func withHome(env []string, uid uint32) []string {
	if slices.ContainsFunc(env, func(s string) bool { return strings.HasPrefix(s, "HOME=") }) {
		return env
	}
	home := "/"
	file, err := os.OpenFile("/etc/passwd", os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err == nil {
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			users, err := user.ParsePasswdFilter(io.LimitReader(file, 1<<20), func(u user.User) bool {
				return u.Uid == int(uid)
			})
			if err == nil && len(users) > 0 && users[0].Home != "" {
				home = users[0].Home
			}
		}
	}
	return append(env, "HOME="+home)
}

// enterDirectory makes the working directory, as runc does.
func enterDirectory(dir string) error {
	if dir == "" {
		dir = "/"
	}
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("working directory %q is not an absolute path", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the container's working directory: %w", err)
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("enter the container's working directory %s: %w", dir, err)
	}
	return nil
}

// findProgram looks a program up as execvp(3) does, in the command's PATH.
func findProgram(name string, env []string) (string, error) {
	os.Clearenv()
	for _, variable := range env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return "", err
			}
		}
	}
	path, err := exec.LookPath(name)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return "", err
	}
	return path, nil
}
