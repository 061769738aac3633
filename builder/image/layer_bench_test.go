package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/kubetest"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// benchSources is a tree with 2,000 files of 8 kilobytes in 100 directories
// besides its own, and its sources.
func benchSources(b *testing.B) (kube.Tree, sources.Manifest) {
	root := filepath.Join(b.TempDir(), "k")
	if err := kubetest.Release12(root, ""); err != nil {
		b.Fatal(err)
	}
	for i := range 2000 {
		file := filepath.Join(root, fmt.Sprintf("pkg/bench/d%02d/f%04d.go", i%100, i))
		text := fmt.Sprintf("file %d, some text that compresses\n", i)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.Repeat(text, 8192/len(text))), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	tree, err := kube.OpenTree(context.Background(), root, func(string) (string, bool) { return "", false })
	if err != nil {
		b.Fatal(err)
	}
	manifest, err := tree.Sources(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	return tree, manifest
}

// BenchmarkLayer writes a layer of all the sources, and one of a changed file.
func BenchmarkLayer(b *testing.B) {
	tree, manifest := benchSources(b)
	file := filepath.Join(b.TempDir(), "layer.tar")
	parents := []dirEntry{{Path: "go", Mode: 0o755}, {Path: "go/src", Mode: 0o755}}
	one := manifest[len(manifest)-1:]
	for name, l := range map[string]sourceLayer{
		"all": {tree: tree, parents: parents, changed: manifest},
		"one": {tree: tree, parents: parents, changed: one, gone: []string{"pkg/old.go"}, version: []byte("x")},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := l.write(context.Background(), file); err != nil {
					b.Fatal(err)
				}
			}
			info, err := os.Stat(file)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(info.Size())
		})
	}
}

// BenchmarkCompare holds 2,100 sources against what was compiled before, as
// every run does: for the kept objects and for the image.
func BenchmarkCompare(b *testing.B) {
	_, manifest := benchSources(b)
	before := append(sources.Manifest(nil), manifest...)
	before[1000].Size++
	b.ReportAllocs()
	for b.Loop() {
		if !sources.Compare(before, manifest).Any {
			b.Fatal("nothing changed")
		}
		if changed, _ := sources.Diff(before, manifest); len(changed) != 1 {
			b.Fatal(len(changed), "changed")
		}
	}
}
