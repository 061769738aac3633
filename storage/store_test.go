package storage

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kbuild/kbuild/storage/namespace"
)

// held makes what a store with layers of a driver looks like.
func held(t *testing.T, drivers ...string) (root string) {
	t.Helper()
	root = t.TempDir()
	for _, driver := range drivers {
		dir := filepath.Join(root, "graph", driver+"-layers")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "layers.lock"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestStoreOptions(t *testing.T) {
	empty := t.TempDir()
	if err := os.MkdirAll(filepath.Join(empty, "graph", "overlay-layers"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, root, asked string
		want              string // "" is the configuration's
		refused           bool
	}{
		{name: "a new store", root: t.TempDir()},
		{name: "a new store with a driver", root: t.TempDir(), asked: "vfs", want: "vfs"},
		{name: "a store keeps its driver", root: held(t, "vfs"), want: "vfs"},
		{name: "and its other driver", root: held(t, "overlay"), want: "overlay"},
		{name: "the same driver asked for", root: held(t, "vfs"), asked: "vfs", want: "vfs"},
		{name: "another driver asked for", root: held(t, "vfs"), asked: "overlay", refused: true},
		{name: "the other way round", root: held(t, "overlay"), asked: "vfs", refused: true},
		{name: "two drivers, as somebody else made it", root: held(t, "overlay", "vfs"), want: "overlay"},
		{name: "a directory without layers", root: empty, asked: "vfs", want: "vfs"},
	} {
		t.Run(test.name, func(t *testing.T) {
			options, err := storeOptions(Options{Root: test.root, Driver: test.asked})
			if test.refused {
				var driver *DriverError
				if !errors.As(err, &driver) || driver.Asked != test.asked || driver.Root != filepath.Join(test.root, "graph") {
					t.Fatalf("error %v", err)
				}
				if !strings.Contains(err.Error(), driver.Held) {
					t.Errorf("%v does not say %s", err, driver.Held)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if test.want != "" && options.GraphDriverName != test.want {
				t.Errorf("driver %q, want %q", options.GraphDriverName, test.want)
			}
			if options.GraphRoot != filepath.Join(test.root, "graph") || options.RunRoot != filepath.Join(test.root, "run") || options.ImageStore != "" {
				t.Errorf("roots %q, %q, %q", options.GraphRoot, options.RunRoot, options.ImageStore)
			}
		})
	}
	t.Run("a relative root", func(t *testing.T) {
		t.Chdir(t.TempDir())
		here, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		options, err := storeOptions(Options{Root: "store"})
		if err != nil || options.GraphRoot != filepath.Join(here, "store", "graph") {
			t.Errorf("root %q, %v", options.GraphRoot, err)
		}
	})
}

// In a user namespace with one id, layers cannot keep their owners.
func TestSingleID(t *testing.T) {
	if os.Getenv("KBUILD_TEST_SINGLE") != "" {
		if single, err := namespace.SingleID(); err != nil || !single {
			t.Errorf("single %t, %v", single, err)
		}
		for asked, want := range map[string]string{"": "overlay", "overlay": "overlay", "vfs": "vfs"} {
			options, err := storeOptions(Options{Root: t.TempDir(), Driver: asked})
			if err != nil || options.GraphDriverName != want || !slices.Contains(options.GraphDriverOptions, want+".ignore_chown_errors=true") {
				t.Errorf("asked for %q: driver %s, options %q, %v", asked, options.GraphDriverName, options.GraphDriverOptions, err)
			}
		}
		return
	}
	single, err := namespace.SingleID()
	if err != nil {
		t.Fatal(err)
	}
	if single {
		t.Log("these tests run with one id")
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestSingleID$")
	cmd.Env = append(os.Environ(), "KBUILD_TEST_SINGLE=1", "STORAGE_DRIVER=", "CONTAINERS_STORAGE_CONF=/dev/null")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in a user namespace: %v\n%s", err, output)
	}
}

func TestLocalName(t *testing.T) {
	for short, want := range map[string]string{
		"kube-build:build-cbc077d244": "localhost/kube-build:build-cbc077d244",
		"kube-build":                  "localhost/kube-build",
		"a/b:c":                       "localhost/a/b:c",
		"docker.io/library/a:b":       "localhost/docker.io/library/a:b",
		"kube-build:v1.2.0+x":         "", // no tag
		"Kube-build:x":                "",
		"":                            "",
		":x":                          "",
	} {
		name, err := LocalName(short)
		if (err == nil) != (want != "") || err == nil && name.String() != want {
			t.Errorf("%q: %v, %v; want %q", short, name, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "image name") {
			t.Errorf("%q: %v does not say of what", short, err)
		}
	}
}
