package namespace_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/storage/namespace"
	"golang.org/x/sys/unix"
)

func TestMappings(t *testing.T) {
	ids := namespace.Mappings()
	if os.Geteuid() == 0 {
		// Root that may set ids has all that there are, and needs no tool.
		if len(ids.UID) == 0 || ids.UID[0].ContainerID != 0 || ids.UID[0].HostID != 0 || ids.UID[0].Size < 2 || ids.Single || !ids.Direct {
			t.Errorf("%+v", ids)
		}
		return
	}
	if len(ids.UID) == 0 || ids.UID[0].HostID != uint32(os.Geteuid()) || ids.UID[0].ContainerID != 0 || ids.UID[0].Size != 1 {
		t.Errorf("the user's own id is not first: %+v", ids.UID)
	}
	if ids.Single != (len(ids.UID) == 1) || ids.Single != (ids.Why != "") || ids.Single != ids.Direct {
		t.Errorf("%+v", ids)
	}
	t.Setenv("PATH", t.TempDir())
	if ids := namespace.Mappings(); !ids.Single || !strings.Contains(ids.Why, "newuidmap") {
		t.Errorf("without newuidmap: %+v", ids)
	}
}

// alone starts this test again, as a process of its own.
func alone(t *testing.T, wrap ...string) string {
	t.Helper()
	args := append(wrap, os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "KBUILD_TEST_ALONE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// Root with the capabilities of a container, as Docker and Kubernetes give them
// to it, has all its ids in the worker, where additional groups can be set.
func TestEnterAsContainersRoot(t *testing.T) {
	if os.Getenv("KBUILD_TEST_ALONE") != "" {
		needed, err := namespace.Needed()
		status, got := enter(t, context.Background(), namespace.Options{}, order{Do: "groups"})
		fmt.Printf("needed %t %v status %d %s\n", needed, err, status, got)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root has a container's capabilities")
	}
	for caps, want := range map[string]string{
		"+chown,+dac_override,+fowner,+fsetid,+kill,+net_bind_service,+setfcap,+setgid,+setpcap,+setuid,+sys_chroot,+mknod":                                     "needed true <nil> status 0 0 0 4294967295 [7 8]",
		"+chown,+dac_override,+fowner,+fsetid,+kill,+net_bind_service,+setfcap,+setgid,+setpcap,+setuid,+sys_chroot,+mknod,+sys_admin":                          "needed true <nil> status 0 0 0 4294967295 [7 8]",
		"+chown,+dac_override,+fowner,+fsetid,+kill,+net_bind_service,+setfcap,+setgid,+setpcap,+setuid,+sys_chroot,+mknod,+sys_admin,+net_admin,+sys_resource": "needed false <nil> status 0 0 0 4294967295 [7 8]",
	} {
		if out := alone(t, "setpriv", "--inh-caps=-all", "--bounding-set=-all,"+caps); !strings.Contains(out, want) {
			t.Errorf("with %s: %s, want %s", caps, out, want)
		}
	}
}

// A newuidmap that fails is named with its cause, and the worker has one id.
func TestEnterWithoutRights(t *testing.T) {
	ctx := context.Background()
	if os.Getenv("KBUILD_TEST_ALONE") != "" {
		waiting := namespace.Begin(ctx, namespace.Options{})
		fmt.Printf("lost: %s\n", waiting.Lost())
		waiting.Close()
		status, got := enter(t, ctx, namespace.Options{}, order{Do: "identity"})
		fmt.Printf("status %d, %s\n", status, got)
		return
	}
	if os.Geteuid() == 0 {
		t.Skip("root needs no newuidmap")
	}
	if ids := namespace.Mappings(); ids.Single {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI is set, and %s", ids.Why)
		}
		t.Skip("NOT TESTED: " + ids.Why)
	}
	out := alone(t, "setpriv", "--no-new-privs")
	if !strings.Contains(out, "lost: newuidmap does not work: ") || !strings.Contains(out, "no_new_privs is set") || !strings.Contains(out, "status 0, 0 0") {
		t.Errorf("with no_new_privs: %s", out)
	}
	// A tool without rights.
	dir := t.TempDir()
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, tool), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if out := alone(t); !strings.Contains(out, dir+"/newuidmap is neither setuid nor has capabilities; file capabilities serve: setcap cap_setuid+ep") {
		t.Errorf("with a copy: %s", out)
	}
}

// The session keyring is a new one, in which nothing of the user's is.
func TestSessionKeyring(t *testing.T) {
	if os.Getenv("KBUILD_TEST_ALONE") != "" {
		_, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", "kbuild-test", 0)
		status, got := enter(t, context.Background(), namespace.Options{}, order{Do: "key"})
		fmt.Printf("here: %v, there: %d %s\n", err, status, got)
		return
	}
	// A session keyring is a thread's, and of what the thread starts; so this one
	// ends with the test.
	runtime.LockOSThread()
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if err == nil {
		_, err = unix.AddKey("user", "kbuild-test", []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING)
	}
	if err != nil {
		t.Skipf("NOT TESTED: there are no keys here: %v", err)
	}
	if out := alone(t); !strings.Contains(out, "here: <nil>, there: 0 required key not available") {
		t.Errorf("%s", out)
	}
}
