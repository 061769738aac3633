package chroot

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if status, ok := Main(); ok {
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// host is how the runtime is started: as root, or in a user namespace of one
// id.
type host struct {
	// before runs as root of the namespaces, ahead of the runtime.
	before string
}

// bundle makes a container of this host's programs.
func bundle(t *testing.T, edit func(*specs.Spec)) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for _, d := range []string{"usr", "etc", "tmp", "proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mounts := []specs.Mount{{Type: "bind", Source: "/usr", Destination: "/usr", Options: []string{"rbind", "ro"}}}
	for _, d := range []string{"bin", "lib", "lib64"} {
		if target, err := os.Readlink("/" + d); err == nil {
			if err := os.Symlink(target, filepath.Join(root, d)); err != nil {
				t.Fatal(err)
			}
		} else if _, err := os.Stat("/" + d); err == nil {
			mounts = append(mounts, specs.Mount{Type: "bind", Source: "/" + d, Destination: "/" + d, Options: []string{"rbind", "ro"}})
		}
	}
	caps := []string{"CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"}
	spec := &specs.Spec{
		Version: "1.0.2", Hostname: "box", Root: &specs.Root{Path: "root"},
		Process: &specs.Process{
			Args: []string{"sh", "-c", "true"}, Env: []string{"PATH=/usr/bin:/bin"}, Cwd: "/tmp",
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Permitted: caps, Effective: caps},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 100}},
		},
		Mounts: append(mounts,
			specs.Mount{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			specs.Mount{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=65536k"}},
			specs.Mount{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777"}},
			specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
			specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		),
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
				{Type: specs.CgroupNamespace}, {Type: specs.NetworkNamespace},
			},
			MaskedPaths:   []string{"/proc/uptime", "/sys/firmware", "/proc/nothing"},
			ReadonlyPaths: []string{"/proc/sys", "/proc/nothing"},
			Seccomp: &specs.LinuxSeccomp{
				DefaultAction: specs.ActAllow,
				Syscalls: []specs.LinuxSyscall{
					{Names: []string{"keyctl", "add_key", "no_such_call"}, Action: specs.ActErrno},
					{Names: []string{"personality"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 8, Op: specs.OpEqualTo}}},
				},
			},
		},
	}
	if edit != nil {
		edit(spec)
	}
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start starts the runtime with a command line.
func (h host) start(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{"--root", filepath.Join(args[0], "state")}, args[1:]...)...)
	cmd.Args[0] = Name
	if h.before != "" {
		cmd = exec.Command("sh", append([]string{"-c", h.before + ` && exec "$0" "$@"`, filepath.Join(args[0], Name)}, cmd.Args[1:]...)...)
	}
	// As a shell script that holds a directory open would start it.
	if held, err := os.Open("/"); err == nil {
		cmd.ExtraFiles = []*os.File{held}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return cmd
}

// run runs a shell's script in a container.
func (h host) run(t *testing.T, script string, edit func(*specs.Spec)) (output string, status int) {
	t.Helper()
	dir := bundle(t, func(s *specs.Spec) {
		s.Process.Args[2] = script
		if edit != nil {
			edit(s)
		}
	})
	if h.before != "" {
		if err := os.Symlink("/proc/self/exe", filepath.Join(dir, Name)); err != nil {
			t.Fatal(err)
		}
		// A shell between resolves the link to itself.
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, Name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, filepath.Join(dir, Name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := h.start(dir, "run", "--bundle", dir, "--preserve-fds", "0", "c1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out), 0
}

func TestRun(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   string
		status int
	}{
		"status":            {"exit 7", "", 7},
		"death by signal":   {"kill -9 $$; echo alive", "alive\n", 0}, // the first process of a PID namespace is safe from itself
		"first process":     {"echo $$", "1\n", 0},
		"host name":         {"cat /proc/sys/kernel/hostname", "box\n", 0},
		"working directory": {"pwd", "/tmp\n", 0},
		"limits":            {"ulimit -n", "100\n", 0},
		"umask":             {"umask", "0022\n", 0},
		"descriptors":       {"ls /proc/self/fd", "0\n1\n2\n3\n", 0}, // the last is that of ls
		"capabilities":      {"grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | tr -d '\\t\\n'", "CapInh:0000000000000000CapPrm:00000000000000e1CapEff:00000000000000e1CapBnd:00000000000000e1CapAmb:0000000000000000", 0},
		"filter":            {"grep Seccomp: /proc/self/status; setarch -R true 2>/dev/null && echo other", "Seccomp:\t2\nother\n", 0},
		"devices":           {"for d in null zero full random urandom tty; do test -c /dev/$d || echo $d; done; echo x >/dev/null; head -c 3 /dev/zero | wc -c; readlink /dev/fd; ls /dev/pts /dev/shm", "3\n/proc/self/fd\n/dev/pts:\nptmx\n\n/dev/shm:\n", 0},
		"standard error":    {"echo said >/dev/stderr", "said\n", 0},
		"masked":            {"wc -c </proc/uptime; ls /sys/firmware; : >/proc/sys/kernel/hostname", "0\nsh: 1: cannot create /proc/sys/kernel/hostname: Read-only file system\n", 2},
		"system files":      {"touch /sys/x 2>/dev/null || echo read-only; touch /usr/x 2>/dev/null || echo read-only", "read-only\nread-only\n", 0},
		"network":           {"grep -c : /proc/net/dev", "1\n", 0},
		"mounts":            {"grep -c ' / / ' /proc/self/mountinfo; grep -v -E ' /(proc|sys|dev|usr|bin|lib|lib64)?(/[^ ]*)? ' /proc/self/mountinfo", "0\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			out, status := host{}.run(t, test.script, nil)
			if out != test.want || status != test.status {
				t.Errorf("%s\nends with %d and says\n%s\nwant %d and\n%s", test.script, status, out, test.status, test.want)
			}
		})
	}
}

// A container's processes end with it, also those that left its session.
func TestRunEndsEverything(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	if err := os.WriteFile(mark, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	_, status := host{}.run(t, `setsid sh -c 'trap "" TERM HUP; while sleep 0.05; do echo x >>/mark; done' >/dev/null 2>&1 </dev/null & sleep 0.3; exit 3`, func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Type: "bind", Source: mark, Destination: "/mark"})
	})
	if status != 3 {
		t.Fatalf("status %d", status)
	}
	before, err := os.ReadFile(mark)
	if err != nil || len(before) == 0 {
		t.Fatalf("the process left behind wrote nothing: %v", err)
	}
	time.Sleep(200 * time.Millisecond)
	if after, err := os.ReadFile(mark); err != nil || !bytes.Equal(before, after) {
		t.Errorf("it still writes (%v)", err)
	}
}

// Links of the image lead nowhere but into the image, whatever is mounted at or
// below them.
func TestRunFollowsNoLinkOut(t *testing.T) {
	victim := t.TempDir()
	if err := os.WriteFile(filepath.Join(victim, "ptmx"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := bundle(t, func(s *specs.Spec) {
		s.Mounts = append(s.Mounts,
			specs.Mount{Type: "bind", Source: "/etc/passwd", Destination: "/go/src/file", Options: []string{"ro"}},
			specs.Mount{Type: "bind", Source: "/etc/passwd", Destination: "/etc/hosts", Options: []string{"ro"}},
			specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/go/tmp"})
		s.Process.Args[2] = "cat /go/src/file /etc/hosts >/dev/null && echo fine"
	})
	root := filepath.Join(dir, "root")
	for link, to := range map[string]string{"go": victim, "etc/hosts": "../../../../.." + victim + "/hosts"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(root, "dev")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(root, "dev")); err != nil {
		t.Fatal(err)
	}
	out, err := host{}.start(dir, "run", "--bundle", dir, "c1").CombinedOutput()
	if err != nil || string(out) != "fine\n" {
		t.Errorf("%v: %s", err, out)
	}
	entries, err := os.ReadDir(victim)
	if err != nil || len(entries) != 1 {
		t.Errorf("the host has %v now (%v)", entries, err)
	}
	if data, err := os.ReadFile(filepath.Join(victim, "ptmx")); err != nil || string(data) != "mine" {
		t.Errorf("the host's file is %q now (%v)", data, err)
	}
}

// In a host whose /proc and /sys are hidden in part, as every container's are,
// no other can be mounted.
func TestRunWithMaskedProc(t *testing.T) {
	h := host{before: `mount -t tmpfs tmpfs /proc/acpi && mount --bind /dev/null /proc/keys && mount -t tmpfs tmpfs /sys/firmware`}
	if os.Geteuid() == 0 {
		// Root of the host may mount another, and is not concerned.
		h.before = `exec unshare -U -r -m sh -c '` + h.before + ` && exec "$0" "$@"' "$0" "$@"; false`
	}
	out, status := h.run(t, `wc -c </proc/uptime; ls /proc/acpi; test -d /proc/self/fd && echo <(:) 2>/dev/null; cat /proc/self/comm; : >/proc/sys/kernel/hostname`, func(s *specs.Spec) {
		s.Process.Args = []string{"bash", "-c", s.Process.Args[2]}
	})
	if want := "0\n/dev/fd/63\ncat\n"; !strings.HasPrefix(out, want) || status != 1 || !strings.Contains(out, "Read-only") {
		t.Errorf("status %d: %s", status, out)
	}
}

// buildah creates a container, waits for it as its subreaper, starts it and
// asks for its state meanwhile.
func TestCreateAndStart(t *testing.T) {
	dir := bundle(t, func(s *specs.Spec) { s.Process.Args[2] = "echo ran; sleep 1000" })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, Name)); err != nil {
		t.Fatal(err)
	}
	// Everything in one user namespace, whose root the processes are.
	script := `set -e
runtime() { "$0/` + Name + `" --root "$0/state" "$@"; }
runtime create --bundle "$0" --pid-file "$0/pid" --no-new-keyring c1
runtime state c1 | grep -o '"status":"[a-z]*"'
runtime start c1
runtime state c1 | grep -o '"status":"[a-z]*"'
runtime start c1 2>/dev/null || echo only once
runtime kill c1 KILL
while runtime state c1 | grep -q '"status":"running"'; do sleep 0.05; done
runtime state c1 | grep -o '"status":"[a-z]*"'
runtime delete c1
ls "$0/state"`
	cmd := exec.Command("sh", "-c", script, dir)
	cmd.SysProcAttr = host{}.start(dir).SysProcAttr
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	if want := []string{`"status":"created"`, `"status":"running"`, `"status":"stopped"`, "only once", "ran"}; err != nil || !slices.Equal(lines, want) {
		t.Errorf("%v: %s", err, out)
	}
}

// What cannot be is told, in the log or on standard error, with status 1.
func TestRunFails(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*specs.Spec)
		want string
	}{
		"no program": {func(s *specs.Spec) { s.Process.Args = []string{"no-such-program"} }, "no-such-program"},
		"no source": {func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Type: "bind", Source: "/no/such", Destination: "/x"})
		}, "mount /x: stat /no/such"},
		"file on dir": {func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Type: "bind", Source: "/etc/passwd", Destination: "/tmp"})
		}, "/tmp in the container is a directory"},
		"namespace": {func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		}, "user namespace"},
		"kind of mount":  {func(s *specs.Spec) { s.Mounts = append(s.Mounts, specs.Mount{Type: "nfs", Destination: "/x"}) }, "type nfs"},
		"unknown limits": {func(s *specs.Spec) { s.Process.Rlimits[0].Type = "RLIMIT_X" }, "RLIMIT_X"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := bundle(t, test.edit)
			log := filepath.Join(dir, "log")
			out, err := host{}.start(dir, "--log", log, "--log-format", "json", "run", "--bundle="+dir, "c1").CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || len(out) != 0 {
				t.Fatalf("%v: %s", err, out)
			}
			var line struct{ Level, Msg string }
			if data, err := os.ReadFile(log); err != nil || json.Unmarshal(data, &line) != nil || line.Level != "error" || !strings.Contains(line.Msg, test.want) {
				t.Errorf("the log is %s (%v), want %s", data, err, test.want)
			}
		})
	}
}
