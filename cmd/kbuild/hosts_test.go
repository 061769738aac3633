package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: only root can make a container with the default capabilities")
	}
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
