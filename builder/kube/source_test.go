package kube

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The entries are those of GNU tar with the list that the tree's script prints.
func TestSourcesAreThoseOfTar(t *testing.T) {
	root := smallTree(t, map[string]string{
		"pkg/empty/": "", "pkg/name with\nnewline": "n", "pkg/\xff\xfe": "not UTF-8", "pkg/-dash": "-",
		"pkg/dir-x/file": "sorts before dir/",
		"pkg/dir/file":   "x", "not/listed": "x", "Godeps/Readme": "not listed", "_output/dockerized/bin/kubelet": "x",
		"contrib/extra/cmd/more/more.go": "package main\n",
	})
	for link, target := range map[string]string{"pkg/dangling": "nowhere", "pkg/loop": "loop", "pkg/to-dir": "../not"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, env := range [][]string{nil, {"KUBERNETES_CONTRIB=extra"}} {
		tree := openTree(t, root, env...)
		cmd := exec.Command("bash", "-c", "source build/common.sh; tar cf - $(kube::build::source_targets)")
		cmd.Dir = root
		cmd.Env = append(append(os.Environ(), "PWD="+root), env...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for r := tar.NewReader(bytes.NewReader(out)); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, strings.TrimSuffix(h.Name, "/"))
		}
		slices.Sort(want)
		entries, err := tree.Sources(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Path)
		}
		if !slices.Equal(got, want) {
			t.Errorf("with %q the entries are\n%q, want\n%q", env, got, want)
		}
	}
}
