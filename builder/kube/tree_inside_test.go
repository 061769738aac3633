package kube

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage/files"
)

// readFiles are the files that kbuild reads of a small tree of the age.
func readFiles(t *testing.T, release string) []string {
	t.Helper()
	read := []string{"build/common.sh", "hack/lib/golang.sh", "hack/lib/version.sh"}
	root := releaseTree(t, release)
	for _, name := range []string{
		"build/build-image/Dockerfile", "build/build-image/VERSION", "build/build-image/cross/VERSION",
		"build/build-image/cross/Dockerfile", ".go-version",
		"cmd/kubelet/kubelet.go",
	} {
		if release == "1.2" && strings.HasSuffix(name, "/VERSION") {
			continue // it has one that nothing reads
		}
		if _, err := os.Lstat(filepath.Join(root, name)); err == nil {
			read = append(read, name)
		}
	}
	return read
}

// look does all that kbuild does with a tree before it makes anything.
func look(root string) (Tree, error) {
	t, err := OpenTree(context.Background(), root, environment())
	if err != nil {
		return Tree{}, err
	}
	_, versionErr := t.Version(context.Background())
	_, targetErr := t.ResolveTargets([]string{"cmd/kubelet"})
	_, fileErr := t.BuildDockerfile(false)
	var crossErr error
	if t.Recipe.CrossDockerfile != "" {
		_, crossErr = t.CrossBases()
	}
	return t, errors.Join(versionErr, targetErr, fileErr, crossErr)
}

// A file of the tree may lie behind a link that stays inside. One behind a link
// that leads out is refused by its name, a pipe is refused and not waited for,
// and what is larger than any script is not read whole.
func TestReadingStaysInside(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: links in the place of every file")
	}
	secret := filepath.Join(t.TempDir(), "secret")
	for _, release := range []string{"1.1", "1.2", "1.4", "1.28", "1.35"} {
		for _, name := range readFiles(t, release) {
			for what, put := range map[string]func(root, file string) error{
				"link inside": func(root, file string) error {
					moved := filepath.Join(root, "moved")
					up, err := filepath.Rel(filepath.Dir(file), moved)
					return errors.Join(err, os.Rename(file, moved), os.Symlink(up, file))
				},
				"link out": func(_, file string) error {
					data, err := os.ReadFile(file)
					return errors.Join(err, os.WriteFile(secret, data, 0o644), os.Remove(file), os.Symlink(secret, file))
				},
				"link to a device": func(_, file string) error {
					return errors.Join(os.Remove(file), os.Symlink("/dev/zero", file))
				},
				"pipe":      func(_, file string) error { return errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o644)) },
				"directory": func(_, file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o755)) },
				"endless":   func(_, file string) error { return os.Truncate(file, 1<<40) },
			} {
				t.Run(release+" "+name+" "+what, func(t *testing.T) {
					root := releaseTree(t, release)
					before, err := look(root)
					if err != nil {
						t.Fatal(err)
					}
					file := filepath.Join(root, name)
					if err := put(root, file); err != nil {
						t.Fatal(err)
					}
					done := make(chan error, 1)
					go func() {
						after, err := look(root)
						if err == nil && after.Recipe.BaseImage != before.Recipe.BaseImage {
							err = errors.New("the base image is " + after.Recipe.BaseImage)
						}
						done <- err
					}()
					select {
					case err = <-done:
					case <-time.After(time.Minute):
						t.Fatal("kbuild waits for it")
					}
					var outside *files.OutsideError
					switch {
					case what == "link inside" && name == "cmd/kubelet/kubelet.go": // a target behind a link may be anything
					case what == "link inside":
						if err != nil {
							t.Error(err)
						}
					case name == "cmd/kubelet/kubelet.go" && err != nil && strings.Contains(err.Error(), "cmd/kubelet"):
					case name == "cmd/kubelet/kubelet.go" && err == nil: // the tree lists the target
					case strings.HasPrefix(what, "link"):
						if !errors.As(err, &outside) || outside.Path != name {
							t.Errorf("error is %v", err)
						}
					case !errors.Is(err, files.ErrNotRegular) && !errors.Is(err, files.ErrTooLarge) ||
						!strings.Contains(err.Error(), name):
						t.Errorf("error is %v", err)
					}
				})
			}
		}
	}
}

// The value of a file is not shown where it is none that was expected.
func TestBadValueIsShort(t *testing.T) {
	root := releaseTree(t, "1.28")
	key := "-----BEGIN KEY----- \x1b]0;x\a " + strings.Repeat("s3cr3t", 200)
	writeFiles(t, root, map[string]string{"build/build-image/cross/VERSION": key})
	_, err := OpenTree(context.Background(), root, environment())
	if err == nil || strings.Count(err.Error(), "s3cr3t") > 6 || strings.Contains(err.Error(), "\x1b") ||
		!strings.Contains(err.Error(), "BEGIN KEY") {
		t.Errorf("error is %v", err)
	}
}

func TestTreeReadFile(t *testing.T) {
	tree := openTree(t, smallTree(t, map[string]string{"dir/file": "x"}))
	if data, err := tree.ReadFile("dir/file", 1); err != nil || string(data) != "x" {
		t.Error(data, err)
	}
	if _, err := tree.ReadFile("../x", 1); err == nil {
		t.Error("no error")
	}
	if _, err := tree.ReadFile("nothing", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
