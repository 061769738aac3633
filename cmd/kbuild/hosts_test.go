package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// mapTools puts newuidmap and newgidmap, with file capabilities, into a pod: the
// only form in which they serve in one.
func mapTools(t *testing.T, root string) {
	t.Helper()
	dir := filepath.Join(root, "opt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for tool, capability := range map[string]string{"newuidmap": "cap_setuid", "newgidmap": "cap_setgid"} {
		script := "cp $(command -v " + tool + ") " + dir + " && chmod 755 " + dir + "/" + tool + " && PATH=$PATH:/usr/sbin:/sbin setcap " + capability + "+ep " + dir + "/" + tool
		if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

func without(list []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(names, s) })
}

// The hosts of CI jobs, made for real: a build ends well in each, or says in one
// line what serves, before anything is copied.
func TestPods(t *testing.T) {
	long(t, "hosts as CI runners are")
	byRoot(t)
	w := smallWorld(t)
	const chrooted = "using chroot isolation"
	for name, test := range map[string]struct {
		pod  pod
		ids  string   // what the compile sees of ids; "" that nothing is built
		says []string // once each
	}{
		"root":                        {pod{}, "0 0 4294967295", []string{chrooted}},
		"user":                        {pod{uid: 1000}, "0 1000 1", []string{chrooted}},
		"user, no privileges to gain": {pod{uid: 1000, noNew: true, caps: []string{}}, "0 1000 1", []string{chrooted}},
		"user with ranges": {
			pod{uid: 1000, subids: "100000:65536", before: mapTools, path: "/opt"}, "0 1000 1\nuid_map 1 100000 65536", []string{chrooted},
		},
		"user with ranges, no privileges to gain": {
			pod{uid: 1000, subids: "100000:65536", before: mapTools, path: "/opt", noNew: true}, "0 1000 1", []string{"no_new_privs is set", chrooted},
		},
		"user with all of /proc": {pod{uid: 1000, procs: true}, "0 1000 1", nil},
		"root with all of /proc": {pod{procs: true}, "0 0 4294967295", nil},
		"root with CAP_SYS_ADMIN, without CAP_NET_ADMIN": {
			pod{caps: append(slices.Clone(dockerCaps), "CAP_SYS_ADMIN")}, "0 0 4294967295", []string{chrooted},
		},
		"root without CAP_SETFCAP": {pod{caps: without(dockerCaps, "CAP_SETFCAP")}, "", []string{"without the capability SETFCAP"}},
		"root, filtered":           {pod{seccomp: true}, "", []string{"a seccomp filter forbids unshare", "hint:"}},
		"user, filtered":           {pod{uid: 1000, seccomp: true}, "", []string{"a seccomp filter forbids unshare", "hint:"}},
	} {
		t.Run(name, func(t *testing.T) {
			work, out, status := test.pod.run(t, w, "kbuild --root /job/doctored doctor; echo doctor $?; ! test -e /job/doctored || echo it left a store; "+
				"kbuild --root /job/store --mirror oci:/job/oci cmd/kubelet")
			// What the doctor says is what becomes of the build.
			if wrong := status != 0; strings.Contains(out, "\nbuilds fail\ndoctor 1\n") != wrong || strings.Contains(out, "\ndoctor 0\n") == wrong {
				t.Errorf("the doctor is wrong about a build that ends with %d", status)
			}
			_, built, _ := strings.Cut(out, "\ndoctor ")
			if strings.Contains(built, "it left a store") {
				t.Error("the doctor left a store")
			}
			for _, text := range test.says {
				if strings.Count(built, text) != 1 {
					t.Errorf("%q is not said once", text)
				}
			}
			if !slices.Contains(test.says, chrooted) && strings.Contains(built, "does not work here") {
				t.Error("there is a warning")
			}
			if test.ids == "" {
				if _, err := os.Stat(filepath.Join(work, "store/graph")); status != 125 || err == nil {
					t.Errorf("status %d, and the store is there: %v", status, err == nil)
				}
				return
			}
			data, err := os.ReadFile(filepath.Join(work, "k/_output/dockerized/bin/linux/amd64/kubelet"))
			if want := "uid_map " + test.ids + "\n"; status != 0 || err != nil || string(data) != want {
				t.Errorf("status %d, the compile saw %q (%v), want %q", status, data, err, want)
			}
		})
	}
}

// tmpfs is a small file system of a pod's own.
func tmpfs(place string, options ...string) func(string) []specs.Mount {
	return func(string) []specs.Mount {
		return []specs.Mount{{Destination: place, Type: "tmpfs", Source: "tmpfs", Options: append([]string{"mode=1777"}, options...)}}
	}
}

// Hosts whose directories are mounted in other ways than a plain disk's: a build
// ends well in each.
func TestPodsMounts(t *testing.T) {
	long(t, "what may be mounted in a pod")
	byRoot(t)
	w := smallWorld(t)
	const build = "kbuild --root /job/store --mirror oci:/job/oci "
	const programs = "_output/dockerized/bin/linux/amd64"
	const withoutCgroups = "kbuild doctor; test $? = 0 && " + build + "cmd/kubelet 2>&1 | tee /job/said && " +
		"grep -q 'does not work here: .*cgroup.*; using chroot isolation' /job/said && grep -q uid_map " + programs + "/kubelet"
	bare := tmpfs("/home/ci", "nosuid", "nodev", "noexec")
	for name, test := range map[string]struct {
		pod    pod
		script string
	}{
		"a home without rights": {
			pod{uid: 1000, procs: true, mounts: bare}, "kbuild --mirror oci:/job/oci cmd/kubelet 2>&1 | tee /job/said && ! grep 'does not work' /job/said && grep -q uid_map " + programs + "/kubelet && test -e ~/.local/share/containers/storage",
		},
		"a home without rights, with chroot isolation": {
			pod{uid: 1000, mounts: bare}, "kbuild --mirror oci:/job/oci cmd/kubelet && grep -q uid_map " + programs + "/kubelet",
		},
		"temporary files without rights": {
			pod{uid: 1000, procs: true, mounts: tmpfs("/t", "nosuid", "nodev", "noexec")}, "export TMPDIR=/t; " + build + "cmd/kubelet 2>&1 | tee /job/said && ! grep 'does not work' /job/said && kbuild doctor | grep 'runc starts' && ! ls -d /t/kbuild*",
		},
		"a tree that is read-only": {
			pod{uid: 1000, procs: true, mounts: func(work string) []specs.Mount {
				return []specs.Mount{{Destination: "/job/k", Type: "bind", Source: filepath.Join(work, "k"), Options: []string{"bind", "ro"}}}
			}},
			"! touch x && " + build + "--output /job/out cmd/kubelet && grep -rq uid_map /job/out",
		},
		"_output that is a mount": {
			pod{procs: true, mounts: tmpfs("/job/k/_output")}, build + "cmd/kubelet && grep -q uid_map " + programs + "/kubelet",
		},
		"a platform's directory that is a mount": {
			pod{procs: true, mounts: tmpfs("/job/k/" + programs)}, build + "cmd/kubelet && grep -q uid_map " + programs + "/kubelet",
		},
		"no cgroups, as root": {
			pod{procs: true, mounts: tmpfs("/sys/fs/cgroup", "ro")}, withoutCgroups,
		},
		"no cgroups, as a user": {
			pod{uid: 1000, procs: true, mounts: tmpfs("/sys/fs/cgroup", "ro")}, withoutCgroups,
		},
		"a store of copies": {
			pod{uid: 1000}, build + "--storage-driver vfs cmd/kubelet && grep -q uid_map " + programs + "/kubelet && " +
				build + "cmd/kubelet && ls -d /job/store/graph/vfs",
		},
		"overlay": {
			pod{procs: true, mounts: func(work string) []specs.Mount {
				options := []string{}
				for _, dir := range []string{"lower", "upper", "work"} {
					path := filepath.Join(filepath.Dir(work), dir)
					if err := os.MkdirAll(path, 0o777); err != nil {
						t.Error(err)
					}
					options = append(options, dir+"dir="+path)
				}
				return []specs.Mount{{Destination: "/over", Type: "overlay", Source: "overlay", Options: options}}
			}},
			"kbuild --root /over/store --mirror oci:/job/oci cmd/kubelet && grep -q uid_map " + programs + "/kubelet && kbuild --root /over/store cmd/kubelet",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, status := test.pod.run(t, w, test.script); status != 0 {
				t.Errorf("status %d", status)
			}
		})
	}
}

// What is kept of which runtime works holds on the host it was found out on, and
// not in a container that shares the user's directories with it.
func TestPodsShareACache(t *testing.T) {
	long(t, "a cache that pods share")
	byRoot(t)
	w, shared := smallWorld(t), t.TempDir()
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	share := func(string) []specs.Mount {
		return []specs.Mount{{Destination: "/shared", Type: "bind", Source: shared, Options: []string{"bind", "rw"}}}
	}
	const build = "XDG_CACHE_HOME=/shared/cache /kbuild --root /shared/store --mirror oci:/job/oci cmd/kubelet"
	for i, open := range []bool{true, false, true} {
		_, out, status := pod{procs: open, mounts: share}.run(t, w, build)
		if status != 0 || strings.Contains(out, "using chroot isolation") == open {
			t.Errorf("host %d: status %d", i, status)
		}
	}
}

// The base image on a volume that an earlier pod filled, and that is read-only: nothing
// is pulled.
func TestPodsBaseImage(t *testing.T) {
	long(t, "a volume with the base image in pods")
	byRoot(t)
	w, volume := smallWorld(t), t.TempDir()
	if err := os.Chmod(volume, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, job := range []struct{ mode, script string }{
		{"rw", "kbuild --root /base --mirror oci:/job/oci mirror"},
		{"ro", "! touch /base/x && mkdir -p ~/.config/containers && " +
			`echo -e '[storage.options]\nadditionalimagestores = ["/base/graph"]' >~/.config/containers/storage.conf && ` +
			"kbuild --offline cmd/kubelet && grep -q uid_map _output/dockerized/bin/linux/amd64/kubelet"},
	} {
		mounts := func(string) []specs.Mount {
			return []specs.Mount{{Destination: "/base", Type: "bind", Source: volume, Options: []string{"bind", job.mode}}}
		}
		if _, _, status := (pod{uid: 1000, mounts: mounts}).run(t, w, job.script); status != 0 {
			t.Errorf("%s: status %d", job.mode, status)
		}
	}
}

// A full file system is called that, wherever it is, and before anything is lost.
func TestPodsFull(t *testing.T) {
	long(t, "full disks in a pod")
	byRoot(t)
	w := smallWorld(t)
	const build = "kbuild --mirror oci:/job/oci cmd/kubelet"
	const private = "kbuild --root /job/store --mirror oci-archive:/job/a.tgz cmd/kubelet"
	for name, test := range map[string]struct{ size, script string }{
		"the store":       {"size=256k", "export XDG_DATA_HOME=/small; " + build},
		"inodes":          {"nr_inodes=60", "export XDG_DATA_HOME=/small; " + build},
		"the cache":       {"nr_inodes=12", "export XDG_DATA_HOME=/job/data XDG_CACHE_HOME=/small; " + build},
		"temporary files": {"size=512k", "tar -C /job/oci -czf /job/a.tgz . && export TMPDIR=/small; " + private},
	} {
		t.Run(name, func(t *testing.T) {
			work, out, status := pod{uid: 1000, procs: true, mounts: tmpfs("/small", test.size)}.run(t, w, test.script)
			said := strings.Contains(out, "no space") || strings.Contains(out, "no inodes")
			if status != 125 || !said || !strings.Contains(out, "/small") || !strings.Contains(out, "hint: ") ||
				strings.Contains(out, "is not an OCI") || strings.Contains(out, "panic") {
				t.Errorf("status %d", status)
			}
			if _, err := os.Stat(filepath.Join(work, "k/_output/dockerized")); err == nil {
				t.Error("something was published")
			}
		})
	}
}
