package preflight

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// faked is a host on which all is well.
func faked(t *testing.T) Host {
	t.Helper()
	home := t.TempDir()
	return Host{
		UID: 1000, Rootless: true, Executable: "/opt/k build", Account: "me", UserNS: fails(nil), Unmappable: fails(nil),
		Mappings: func() namespace.IDMappings {
			return namespace.IDMappings{UID: []specs.LinuxIDMapping{{HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65536}}}
		},
		Runtimes:    func() []string { return []string{"/usr/bin/runc"} },
		ReadFile:    files(map[string]string{"/etc/subuid": "me:100000:65536\n", "/etc/subgid": "me:100000:65536\n"}),
		TryMappings: func(namespace.IDMappings) error { return nil },
		LookPath:    programs("apt-get", "git", "newuidmap", "newgidmap"),
		Getenv:      variables(map[string]string{"HOME": home}),
		Statfs: func(string) (unix.Statfs_t, error) {
			return unix.Statfs_t{Bsize: 4096, Bavail: 25_000_000, Files: 1e6, Ffree: 1e6}, nil
		},
		Access: func(string, uint32) error { return nil },
		Limit: func(int) (unix.Rlimit, error) {
			return unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}, nil
		},
		Kernel: "6.1.0-42", Now: released.AddDate(1, 0, 0), Store: func() (string, error) { return "/s", nil }, Cache: "/c",
	}
}

func files(content map[string]string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if text, ok := content[name]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
}

func programs(names ...string) func(string) (string, error) {
	return func(name string) (string, error) {
		for _, n := range names {
			if n == name {
				return "/usr/bin/" + n, nil
			}
		}
		return "", fs.ErrNotExist
	}
}

func variables(list map[string]string) func(string) string {
	return func(name string) string { return list[name] }
}

func disk(st unix.Statfs_t) func(string) (unix.Statfs_t, error) {
	return func(string) (unix.Statfs_t, error) { return st, nil }
}

// TestExamine looks at hosts on which one thing is wrong: each is named once, as
// what it is, with the command that mends it.
func TestExamine(t *testing.T) {
	if got := Worst(Examine(faked(t))); got != Fine {
		t.Fatalf("on a good host the worst is %d: %+v", got, Examine(faked(t)))
	}
	for name, test := range map[string]struct {
		change func(*Host)
		check  string
		worst  Severity
		found  string
		fix    string
	}{
		"namespaces switched off": {
			func(h *Host) {
				h.UserNS = fails(unix.ENOSPC)
				h.ReadFile = files(map[string]string{"/proc/sys/user/max_user_namespaces": "0\n"})
			}, UserNamespaces, Fatal, "user.max_user_namespaces is 0", "sudo sysctl -w user.max_user_namespaces=15000",
		},
		"namespaces switched off as in old Debian": {
			func(h *Host) {
				h.UserNS = fails(unix.EPERM)
				h.ReadFile = files(map[string]string{"/proc/sys/kernel/unprivileged_userns_clone": "0\n"})
			}, UserNamespaces, Fatal, "unprivileged_userns_clone is 0", "sudo sysctl -w kernel.unprivileged_userns_clone=1",
		},
		"AppArmor": {
			func(h *Host) {
				h.UserNS = fails(unix.EACCES)
				h.ReadFile = files(map[string]string{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"})
			}, UserNamespaces, Fatal, "AppArmor", `profile kbuild "/opt/k build" flags`,
		},
		"a filter": {
			func(h *Host) {
				h.UserNS = fails(unix.EPERM)
				h.ReadFile = files(map[string]string{"/proc/self/status": "Name:\tx\nSeccomp:\t2\n"})
			}, UserNamespaces, Fatal, "a seccomp filter forbids unshare", "seccompProfile",
		},
		"no newuidmap": {
			func(h *Host) {
				h.LookPath = programs("dnf", "git")
				h.Mappings = func() namespace.IDMappings {
					return namespace.IDMappings{Single: true, Why: "newuidmap is not installed"}
				}
			}, SubordinateIDs, Warning, "newuidmap is not installed", "sudo dnf install -y shadow-utils",
		},
		"no ranges": {
			func(h *Host) {
				h.ReadFile = files(map[string]string{"/etc/subuid": "you:100000:65536\n", "/etc/subgid": ""})
				h.Mappings = func() namespace.IDMappings { return namespace.IDMappings{Single: true, Why: "no ids"} }
			}, SubordinateIDs, Warning, "no ids", "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 me",
		},
		"a short range": {
			func(h *Host) {
				h.Mappings = func() namespace.IDMappings {
					return namespace.IDMappings{UID: []specs.LinuxIDMapping{{Size: 1}, {Size: 1000}}}
				}
			}, SubordinateIDs, Warning, "1000 ids", "sudo usermod --add-subuids 165536-231071",
		},
		"a range of two users": {
			func(h *Host) {
				text := "you:120000:10\nme:100000:65536\n"
				h.ReadFile = files(map[string]string{"/etc/subuid": text, "/etc/subgid": text})
			}, SubordinateIDs, Warning, "are you's, too", "sudo usermod --del-subuids 100000-165535 --del-subgids 100000-165535 me && sudo usermod --add",
		},
		"no ranges, and none left": {
			func(h *Host) {
				h.ReadFile = files(map[string]string{"/etc/subuid": "you:1:4294967290\n", "/etc/subgid": ""})
				h.Mappings = func() namespace.IDMappings { return namespace.IDMappings{Single: true, Why: "no ids"} }
			}, SubordinateIDs, Warning, "no ids", "",
		},
		"no privileges to gain": {
			func(h *Host) {
				h.TryMappings = func(namespace.IDMappings) error {
					return &namespace.MapError{Tool: "newuidmap", Said: "denied", Cause: "x", NoNewPrivileges: true}
				}
			}, SubordinateIDs, Warning, "newuidmap does not work: denied (x)", "allowPrivilegeEscalation: true",
		},
		"newuidmap without rights": {
			func(h *Host) {
				h.TryMappings = func(namespace.IDMappings) error {
					return &namespace.MapError{
						Tool: "newuidmap", Said: "denied", Cause: "/x/newuidmap is neither setuid nor has capabilities",
						Capability: "cap_setuid+ep", Path: "/x/newuidmap",
					}
				}
			}, SubordinateIDs, Warning, "newuidmap does not work: denied", "sudo setcap cap_setuid+ep /x/newuidmap",
		},
		"a full disk": {
			func(h *Host) { h.Statfs = disk(unix.Statfs_t{Bsize: 4096, Bavail: 10}) }, "store", Fatal, "0.0 GB free", "XDG_DATA_HOME",
		},
		"no inode": {
			func(h *Host) { h.Statfs = disk(unix.Statfs_t{Bsize: 4096, Bavail: 1e9, Files: 1e6, Ffree: 10}) }, "store", Fatal, "10 inodes", "export",
		},
		"a file system that is read-only": {
			func(h *Host) {
				h.Statfs = disk(unix.Statfs_t{Bsize: 4096, Bavail: 1e9, Flags: unix.ST_RDONLY | unix.ST_NODEV})
			},
			"cache", Fatal, "mounted ro,nodev", "export XDG_CACHE_HOME",
		},
		"TMPDIR that is not there": {
			func(h *Host) {
				good := h.Statfs
				h.Getenv = variables(map[string]string{"TMPDIR": "/gone"})
				h.Statfs = func(dir string) (unix.Statfs_t, error) {
					if dir == "/gone" {
						return unix.Statfs_t{}, unix.ENOENT
					}
					return good(dir)
				}
			}, "temporary files", Fatal, "TMPDIR=/gone is not there", "unset TMPDIR",
		},
		"HOME that is not there": {
			func(h *Host) { h.Getenv = variables(map[string]string{"HOME": "/nonexistent"}) },
			"home directory", Warning, "HOME=/nonexistent is not there", "export HOME",
		},
		"a relative HOME": {
			func(h *Host) { h.Getenv = variables(map[string]string{"HOME": "me"}) }, "home directory", Warning, "not an absolute path", "export HOME",
		},
		"XDG_RUNTIME_DIR as after su": {
			func(h *Host) { h.Getenv = variables(map[string]string{"XDG_RUNTIME_DIR": "/nonexistent"}) },
			"runtime directory", Warning, "is not there, as after su", "unset XDG_RUNTIME_DIR",
		},
		"few files": {
			func(h *Host) {
				h.Limit = func(r int) (unix.Rlimit, error) {
					if r == unix.RLIMIT_NOFILE {
						return unix.Rlimit{Cur: 64, Max: 4096}, nil
					}
					return unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}, nil
				}
			}, "limits", Warning, "64 open files", "ulimit -n $(ulimit -H -n)",
		},
		"no git":           {func(h *Host) { h.LookPath = programs("apk", "newuidmap", "newgidmap") }, "git", Warning, "not installed", "sudo apk add git"},
		"a cache of bytes": {func(h *Host) { h.Cache = "/caf\xe9/kbuild" }, "cache", Fatal, `the name of "/caf\xe9/kbuild" is not UTF-8`, "export XDG_CACHE_HOME="},
		"an old clock":     {func(h *Host) { h.Now = time.Unix(0, 0) }, "clock", Warning, "1970-01-01", "date -s"},
		"an old kernel":    {func(h *Host) { h.Kernel = "4.19.0" }, "kernel", Warning, "cannot mount overlay", "sudo apt-get install -y fuse-overlayfs"},
	} {
		t.Run(name, func(t *testing.T) {
			h := faked(t)
			test.change(&h)
			findings := Examine(h)
			if got := Worst(findings); got != test.worst {
				t.Errorf("the worst is %d, want %d", got, test.worst)
			}
			for _, f := range findings {
				if f.Check == test.check && (f.Severity != test.worst || !strings.Contains(f.Found, test.found) || !strings.Contains(f.Fix, test.fix)) {
					t.Errorf("%+v", f)
				}
				if strings.Contains(f.Fix, "usermod") && strings.Contains(f.Fix, "  ") {
					t.Errorf("a command without a range: %+v", f)
				}
				if f.Severity == Fine && f.Fix != "" {
					t.Errorf("nothing is wrong, and yet: %+v", f)
				}
			}
		})
	}
}

func TestTriedRuntimes(t *testing.T) {
	runc, broken := container.Attempt{Runtime: "/r"}, container.Attempt{Runtime: "/c", Answer: "no"}
	own, none := container.Attempt{}, container.Attempt{Answer: "never"}
	for name, test := range map[string]struct {
		attempts  []container.Attempt
		contained bool
		isolation container.Isolation
		want      Severity
		found     string
	}{
		"runc":                          {[]container.Attempt{runc, own}, false, "", Fine, "/r starts containers"},
		"runc, crun broken":             {[]container.Attempt{broken, runc, own}, false, "", Fine, "/r starts containers; /c starts no container: no"},
		"broken":                        {[]container.Attempt{broken, own}, false, "", Fatal, "chroot isolation works"},
		"broken, in a pod":              {[]container.Attempt{broken, own}, true, "", Warning, "separates less"},
		"none":                          {[]container.Attempt{own}, false, "", Fatal, "neither runc nor crun"},
		"none, in a pod":                {[]container.Attempt{own}, true, "", Warning, "neither runc nor crun"},
		"nothing at all":                {[]container.Attempt{none}, true, "", Fatal, "does not work: never"},
		"chroot asked for":              {[]container.Attempt{own}, false, container.IsolationChroot, Fine, "as asked for"},
		"a runtime asked for, in a pod": {[]container.Attempt{broken, own}, true, container.IsolationOCI, Fatal, "/c starts no"},
		"chroot asked for, in vain":     {[]container.Attempt{runc, none}, false, container.IsolationChroot, Fatal, "never"},
	} {
		h := faked(t)
		h.Contained, h.Isolation = test.contained, test.isolation
		if f := h.TriedRuntimes(test.attempts); f.Severity != test.want || !strings.Contains(f.Found, test.found) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestTriedOverlay(t *testing.T) {
	h := faked(t)
	if f := h.TriedOverlay(nil); f.Severity != Fine {
		t.Errorf("%+v", f)
	}
	if f := h.TriedOverlay(unix.EINVAL); f.Severity != Warning || f.Fix != "sudo apt-get install -y fuse-overlayfs" {
		t.Errorf("%+v", f)
	}
	// What statfs(2) does not tell, writing does.
	failed := fmt.Errorf("try overlay: %w", unix.EROFS)
	if f := h.TriedOverlay(failed); f.Severity != Fatal || !strings.Contains(f.Found, "read-only") || f.Fix != "sudo dmesg" {
		t.Errorf("%+v", f)
	}
	h.LookPath = programs("fuse-overlayfs")
	if f := h.TriedOverlay(unix.EPERM); f.Severity != Warning || !strings.Contains(f.Found, "slower") {
		t.Errorf("%+v", f)
	}
	h.Access = func(string, uint32) error { return unix.EACCES }
	if f := h.TriedOverlay(unix.EPERM); !strings.Contains(f.Found, "no /dev/fuse") {
		t.Errorf("%+v", f)
	}
}

func TestFindingAsJSON(t *testing.T) {
	want := Finding{Check: "x", Severity: Fatal, Found: "y", Fix: "z"}
	data, err := json.Marshal(want)
	if err != nil || string(data) != `{"check":"x","state":"fails","found":"y","fix":"z"}` {
		t.Errorf("%s, %v", data, err)
	}
	var got Finding
	if err := json.Unmarshal(data, &got); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if err := new(Severity).UnmarshalText([]byte("bad")); err == nil {
		t.Error("bad is a severity")
	}
}
