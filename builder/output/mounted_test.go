package output

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
)

// What git has in a mounted tree is covered, whatever it is.
func TestMountTreeHidesGit(t *testing.T) {
	recipe := kube.Recipe{Workdir: "/go/src/k8s.io/kubernetes", VersionFile: "/go/src/k8s.io/kubernetes/.version"}
	for name, put := range map[string]func(git string) error{
		"none":      func(string) error { return nil },
		"directory": func(git string) error { return os.Mkdir(git, 0o755) },
		"file":      func(git string) error { return os.WriteFile(git, []byte("gitdir: /elsewhere\n"), 0o644) },
		"link":      func(git string) error { return os.Symlink("/elsewhere", git) },
	} {
		t.Run(name, func(t *testing.T) {
			root, temp := t.TempDir(), t.TempDir()
			if err := put(filepath.Join(root, ".git")); err != nil {
				t.Fatal(err)
			}
			mounts, err := MountTree(kube.Tree{Root: root, Recipe: recipe}, kube.Version{}, nil, temp)
			var link *GitLinkError
			if name == "link" {
				if !errors.As(err, &link) || link.Root != root {
					t.Errorf("error is %v", err)
				}
				return
			}
			if err != nil || mounts[0] != (kube.Mount{Host: root, Container: recipe.Workdir}) {
				t.Fatalf("%+v, %v", mounts, err)
			}
			if name == "none" {
				if len(mounts) != 1 {
					t.Errorf("mounts are %+v", mounts)
				}
				return
			}
			if len(mounts) != 2 || mounts[1].Container != recipe.Workdir+"/.git" || !mounts[1].ReadOnly {
				t.Fatalf("mounts are %+v", mounts)
			}
			info, err := os.Stat(mounts[1].Host)
			if err != nil || info.IsDir() != (name == "directory") || filepath.Dir(mounts[1].Host) != temp {
				t.Errorf("%s is %v, %v", mounts[1].Host, info, err)
			}
		})
	}
}
