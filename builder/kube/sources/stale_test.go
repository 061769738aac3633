package sources

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"testing"
)

// manifest puts entries in canonical order.
func manifest(t testing.TB, entries ...Entry) Manifest {
	t.Helper()
	m := Manifest(slices.Clone(entries))
	slices.SortFunc(m, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	if _, err := m.MarshalBinary(); err != nil {
		t.Fatal(err)
	}
	return m
}

func dir(name string) Entry          { return Entry{Path: name, Kind: Dir} }
func link(name, target string) Entry { return Entry{Path: name, Kind: Link, Target: target} }

// with returns m with entries added, or put in the place of those of the same
// path.
func with(t testing.TB, m Manifest, entries ...Entry) Manifest {
	t.Helper()
	var paths []string
	for _, e := range entries {
		paths = append(paths, e.Path)
	}
	return manifest(t, append(without(m, paths...), entries...)...)
}

// without returns m without paths and what is below them.
func without(m Manifest, paths ...string) Manifest {
	return slices.DeleteFunc(slices.Clone(m), func(e Entry) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return e.Path == p || strings.HasPrefix(e.Path, p+"/") })
	})
}

const (
	workdir       = "/go/src/k8s.io/kubernetes"
	ownObjects    = "/go/src/k8s.io/kubernetes/_output/dockerized/go"
	godepsObjects = "/go/src/k8s.io/kubernetes/Godeps/_workspace/pkg"
)

// staleTree has packages a, which is alone, b with c below it, and d of Godeps.
func staleTree(t testing.TB) Manifest {
	return manifest(t,
		dir("cmd"), dir("cmd/kubelet"), file("cmd/kubelet/kubelet.go", "main"),
		dir("pkg"),
		dir("pkg/a"), file("pkg/a/a.go", "a"), file("pkg/a/a_test.go", "test"), file("pkg/a/doc.md", "doc"),
		dir("pkg/b"), file("pkg/b/b.go", "b"), file("pkg/b/b2.go", "b"),
		dir("pkg/b/c"), file("pkg/b/c/c.go", "c"),
		dir("Godeps"), dir("Godeps/_workspace"), dir("Godeps/_workspace/src"), dir("Godeps/_workspace/src/x.org"),
		dir("Godeps/_workspace/src/x.org/d"), file("Godeps/_workspace/src/x.org/d/d.go", "d"),
		dir("hack"), file("hack/build-go.sh", "#!"), file("Makefile", "all:"), file("LICENSE", "free"),
		dir("docs"), file("docs/a.md", "text"),
	)
}

// keptFile is a file in a kept directory.
type keptFile struct{ persistent, rel string }

func (f keptFile) String() string { return path.Join(path.Base(f.persistent), f.rel) }

func own(rel string) keptFile    { return keptFile{ownObjects, rel} }
func godeps(rel string) keptFile { return keptFile{godepsObjects, rel} }

var (
	objectA = own("pkg/linux_amd64/k8s.io/kubernetes/pkg/a.a")
	objectB = own("pkg/linux_amd64/k8s.io/kubernetes/pkg/b.a")
	objectC = own("pkg/linux_amd64/k8s.io/kubernetes/pkg/b/c.a")
	objectD = godeps("linux_amd64/x.org/d.a")
	program = own("bin/kubelet")
	cross   = own("bin/linux_arm/kubelet")
	aLink   = own("src/k8s.io/kubernetes")
	objects = []keptFile{objectA, objectB, objectC, objectD}
	kept    = append(slices.Clone(objects), program, cross, aLink)
)

func TestKeeps(t *testing.T) {
	// without is what stays when some objects and the programs go.
	without := func(gone ...keptFile) []keptFile {
		stay := []keptFile{aLink}
		for _, o := range objects {
			if !slices.Contains(gone, o) {
				stay = append(stay, o)
			}
		}
		return stay
	}
	exec := file("pkg/a/a.go", "a")
	exec.Exec = true
	for _, test := range []struct {
		name   string
		before func(Manifest) Manifest // nil: as it is
		now    func(Manifest) Manifest
		any    bool
		all    string
		stay   []keptFile
	}{
		{name: "nothing", now: func(m Manifest) Manifest { return m }, stay: kept},
		{
			name: "an edit", any: true, stay: without(objectA),
			now: func(m Manifest) Manifest { return with(t, m, file("pkg/a/a.go", "other")) },
		},
		{
			name: "an edit of the same size", any: true, stay: without(objectA),
			now: func(m Manifest) Manifest { return with(t, m, file("pkg/a/a.go", "A")) },
		},
		{
			name: "an edit above another package", any: true, stay: without(objectB),
			now: func(m Manifest) Manifest { return with(t, m, file("pkg/b/b.go", "other")) },
		},
		{
			name: "an edit below another package", any: true, stay: without(objectC),
			now: func(m Manifest) Manifest { return with(t, m, file("pkg/b/c/c.go", "other")) },
		},
		{
			name: "an edit in Godeps", any: true, stay: without(objectD),
			now: func(m Manifest) Manifest {
				return with(t, m, file("Godeps/_workspace/src/x.org/d/d.go", "other"))
			},
		},
		{
			name: "the right to execute", any: true, stay: without(objectA),
			now: func(m Manifest) Manifest { return with(t, m, exec) },
		},
		{
			name: "a file removed", any: true, stay: without(objectB),
			now: func(m Manifest) Manifest {
				return slices.DeleteFunc(m, func(e Entry) bool { return e.Path == "pkg/b/b2.go" })
			},
		},
		{
			name: "a file added", any: true, stay: without(objectA),
			now: func(m Manifest) Manifest { return with(t, m, file("pkg/a/new.go", "new")) },
		},
		{
			name: "a file renamed", any: true, stay: without(objectB),
			now: func(m Manifest) Manifest {
				m = slices.DeleteFunc(m, func(e Entry) bool { return e.Path == "pkg/b/b2.go" })
				return with(t, m, file("pkg/b/b3.go", "b"))
			},
		},
		{
			name: "a test", any: true, stay: without(objectA),
			now: func(m Manifest) Manifest { return with(t, m, file("pkg/a/a_test.go", "other")) },
		},
		{
			name: "a file that Go does not read", any: true, stay: without(objectA),
			now: func(m Manifest) Manifest { return with(t, m, file("pkg/a/doc.md", "other")) },
		},
		{
			name: "a package removed", any: true, stay: without(objectA),
			now: func(m Manifest) Manifest {
				return slices.DeleteFunc(m, func(e Entry) bool { return strings.HasPrefix(e.Path, "pkg/a") })
			},
		},
		{
			// Its old object still lies there.
			name: "a package moved", any: true, stay: without(objectA),
			now: func(m Manifest) Manifest {
				m = slices.DeleteFunc(m, func(e Entry) bool { return strings.HasPrefix(e.Path, "pkg/a") })
				return with(t, m, dir("pkg/e"), file("pkg/e/a.go", "a"))
			},
		},
		{
			name: "the last Go file of a package", any: true, stay: without(objectC),
			now: func(m Manifest) Manifest {
				return slices.DeleteFunc(m, func(e Entry) bool { return e.Path == "pkg/b/c/c.go" })
			},
		},
		{
			name: "a document elsewhere", any: true, stay: without(),
			now: func(m Manifest) Manifest { return with(t, m, file("docs/a.md", "other")) },
		},
		{
			name: "the licence", any: true, stay: without(),
			now: func(m Manifest) Manifest { return with(t, m, file("LICENSE", "other")) },
		},
		{
			// Only a file without an ending may be a script.
			name: "a directory without an ending", any: true, stay: without(objectB),
			now: func(m Manifest) Manifest { return with(t, m, dir("pkg/b/empty")) },
		},
		{
			name: "a link in the package", any: true, stay: without(objectA),
			now: func(m Manifest) Manifest { return with(t, m, link("pkg/a/more.go", "../../docs/more.go")) },
		},
		{
			// What it leads to may differ without showing.
			name: "something else, and a link in the package", any: true, stay: without(objectA),
			before: func(m Manifest) Manifest { return with(t, m, link("pkg/a/more.go", "../../docs/more.go")) },
			now: func(m Manifest) Manifest {
				return with(t, m, link("pkg/a/more.go", "../../docs/more.go"), file("docs/a.md", "other"))
			},
		},
		{
			name: "a link that is gone from the package", any: true, stay: without(objectA),
			before: func(m Manifest) Manifest { return with(t, m, link("pkg/a/more.go", "../../docs/more.go")) },
			now:    func(m Manifest) Manifest { return m },
		},
		{
			name: "a package becomes a link", any: true, all: "pkg/a changed", stay: []keptFile{aLink},
			now: func(m Manifest) Manifest {
				m = slices.DeleteFunc(m, func(e Entry) bool { return strings.HasPrefix(e.Path, "pkg/a") })
				return with(t, m, link("pkg/a", "b"))
			},
		},
		{
			name: "a directory above becomes a link with an ending", any: true, stay: without(objectD),
			now: func(m Manifest) Manifest {
				m = slices.DeleteFunc(m, func(e Entry) bool { return strings.HasPrefix(e.Path, "Godeps/_workspace/src/x.org") })
				return with(t, m, link("Godeps/_workspace/src/x.org", "../../../vendor"))
			},
		},
		{
			name: "a link becomes the package", any: true, stay: without(objectD),
			before: func(m Manifest) Manifest {
				m = slices.DeleteFunc(m, func(e Entry) bool { return strings.HasPrefix(e.Path, "Godeps/_workspace/src/x.org") })
				return with(t, m, link("Godeps/_workspace/src/x.org", "../../../vendor"))
			},
			now: func(m Manifest) Manifest { return m },
		},
		{
			name: "a script", any: true, all: "hack/build-go.sh changed", stay: []keptFile{aLink},
			now: func(m Manifest) Manifest { return with(t, m, file("hack/build-go.sh", "other")) },
		},
		{
			name: "the Makefile", any: true, all: "Makefile changed", stay: []keptFile{aLink},
			now: func(m Manifest) Manifest { return with(t, m, file("Makefile", "other")) },
		},
		{
			name: "a new C header", any: true, all: "pkg/b/c/c.h changed", stay: []keptFile{aLink},
			now: func(m Manifest) Manifest { return with(t, m, file("pkg/b/c/c.h", "int")) },
		},
		{
			name: "a C file that is gone", any: true, all: "docs/x.c changed", stay: []keptFile{aLink},
			before: func(m Manifest) Manifest { return with(t, m, file("docs/x.c", "int")) },
			now:    func(m Manifest) Manifest { return m },
		},
		{
			name: "a script becomes a directory", any: true, all: "hack/env changed", stay: []keptFile{aLink},
			before: func(m Manifest) Manifest { return with(t, m, file("hack/env", "X=1")) },
			now:    func(m Manifest) Manifest { return with(t, m, dir("hack/env")) },
		},
		{
			name: "everything", any: true, all: "Makefile changed", stay: []keptFile{aLink},
			now: func(m Manifest) Manifest { return with(t, nil, file("hack/build-go.sh", "other")) },
		},
		{
			name: "nothing was there", any: true, all: "Makefile changed", stay: []keptFile{aLink},
			before: func(m Manifest) Manifest { return nil },
			now:    func(m Manifest) Manifest { return m },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := staleTree(t)
			if test.before != nil {
				before = test.before(before)
			}
			change := Compare(before, test.now(staleTree(t)))
			if change.Any != test.any || change.All != test.all {
				t.Errorf("Any %t, All %q; want %t, %q", change.Any, change.All, test.any, test.all)
			}
			for _, f := range kept {
				keeps := change.Keeps(workdir, f.persistent, f.rel)
				if want := slices.Contains(test.stay, f); keeps != want {
					t.Errorf("%v: stays %t, want %t", f, keeps, want)
				}
			}
		})
	}
}

// What cannot be traced to a directory of the sources goes with any change, and
// stays when there is none.
func TestKeepsUnknown(t *testing.T) {
	change := Compare(staleTree(t), with(t, staleTree(t), file("docs/a.md", "other")))
	none := Compare(staleTree(t), staleTree(t))
	for f, stays := range map[keptFile]bool{
		objectA: true, // of another platform, too
		own("pkg/darwin_amd64/k8s.io/kubernetes/pkg/a.a"):             true,
		own("pkg/linux_amd64_race/k8s.io/kubernetes/pkg/a.a"):         true,
		own("pkg/linux_amd64/x.org/d.a"):                              true, // a Godeps package, wherever it is kept
		own("pkg/linux_amd64/k8s.io/kubernetes/pkg/gone.a"):           false,
		own("pkg/linux_amd64/k8s.io/kubernetes/pkg.a"):                false, // no Go files there
		own("pkg/linux_amd64/k8s.io/kubernetes/docs.a"):               false,
		own("pkg/linux_amd64/k8s.io/kubernetes.a"):                    false,
		own("pkg/linux_amd64/k8s.io/kubernetesque/pkg/a.a"):           false,
		own("pkg/linux_amd64/k8s.io/kubernetes/pkg/a"):                false,
		own("pkg/linux_amd64/k8s.io/kubernetes/pkg/a.o"):              false,
		own("pkg/linux_amd64/k8s.io/kubernetes/pkg/a/a.go.a"):         false,
		own("pkg/linux_amd64/.a"):                                     false,
		own("pkg/linux_amd64.a"):                                      false,
		own("pkg/a.a"):                                                false,
		own("pkg/linux_amd64/k8s.io/kubernetes//pkg/a.a"):             false,
		own("pkg/linux_amd64/k8s.io/kubernetes/../kubernetes/a.a"):    false,
		own("pkg/linux_amd64/k8s.io/kubernetes/pkg/a.a/_obj/x.a"):     false,
		godeps("linux_amd64/x.org/d.a"):                               true,
		godeps("linux_amd64/x.org/e.a"):                               false,
		godeps("linux_amd64/d.a"):                                     false,
		godeps("pkg/linux_amd64/x.org/d.a"):                           false,
		godeps("bin/kubelet"):                                         false,
		own("bin/kubelet"):                                            false,
		own("src/k8s.io/kubernetes"):                                  true, // upstream's own link
		own("binary"):                                                 true,
		{"/go/src/k8s.io/kubernetes/_output/dockerized/go/", "bin/x"}: false,
	} {
		if keeps := change.Keeps(workdir, f.persistent, f.rel); keeps != stays {
			t.Errorf("%v: stays %t after a change, want %t", f, keeps, stays)
		}
		if !none.Keeps(workdir, f.persistent, f.rel) {
			t.Errorf("%v: goes although nothing changed", f)
		}
	}
}

// A caller knows of changes that the sources do not show.
func TestKeepsForeignChange(t *testing.T) {
	change := Compare(staleTree(t), staleTree(t))
	change.Any = true
	for _, f := range kept {
		want := f != program && f != cross
		if keeps := change.Keeps(workdir, f.persistent, f.rel); keeps != want {
			t.Errorf("%v: stays %t, want %t", f, keeps, want)
		}
	}
}

func TestReachesFar(t *testing.T) {
	for file, far := range map[string]bool{
		"hack/build-go.sh": true, "build/make.mk": true, "Makefile": true, "hack/ginkgo": true, ".env": true,
		"a/b.c": true, "a/b.h": true, "a/b.cc": true, "a/b.S": true, "a/b.s": true, "a/b.syso": true, "a/b.swig": true,
		"a/b.go": false, "a/b_test.go": false, "README.md": false, "a/OWNERS": false, "a/README": false, "LICENSE": false,
		"build/build-image/Dockerfile": false, "api/swagger.json": false, "a.yaml": false, ".gitignore": false,
	} {
		if reachesFar(file) != far {
			t.Errorf("%s: %t, want %t", file, !far, far)
		}
	}
}

func TestDiff(t *testing.T) {
	base := staleTree(t)
	for _, test := range []struct {
		name        string
		before, now Manifest
		changed     []string
		gone        []string
	}{
		{name: "nothing", before: base, now: base},
		{name: "an edit", before: base, now: with(t, base, file("pkg/a/a.go", "other")), changed: []string{"pkg/a/a.go"}},
		{
			name: "a new directory", before: base, now: with(t, base, dir("new"), file("new/x.go", "x")),
			changed: []string{"new", "new/x.go"},
		},
		{name: "a file gone", before: base, now: without(base, "pkg/a/a.go"), gone: []string{"pkg/a/a.go"}},
		{name: "a directory gone", before: base, now: without(base, "pkg/b"), gone: []string{"pkg/b"}},
		{
			name: "a directory becomes a file", before: base, now: with(t, without(base, "pkg/b"), file("pkg/b", "b")),
			changed: []string{"pkg/b"},
		},
		{
			name: "a file becomes a directory", before: base, now: with(t, base, dir("docs/a.md"), file("docs/a.md/x", "x")),
			changed: []string{"docs/a.md", "docs/a.md/x"},
		},
		{
			name:    "a listed file in a directory that is not listed",
			before:  manifest(t, file("contrib/x/kubectl", "1"), file("contrib/x/kubelet", "1")),
			now:     manifest(t, file("contrib/x/kubectl", "2")),
			changed: []string{"contrib/x/kubectl"}, gone: []string{"contrib/x/kubelet"},
		},
		{name: "from nothing", now: manifest(t, dir("a"), file("a/b", "b")), changed: []string{"a", "a/b"}},
		{name: "to nothing", before: manifest(t, dir("a"), file("a/b", "b")), gone: []string{"a"}},
	} {
		changed, gone := Diff(test.before, test.now)
		var paths []string
		for _, e := range changed {
			paths = append(paths, e.Path)
		}
		if !slices.Equal(paths, test.changed) || !slices.Equal(gone, test.gone) {
			t.Errorf("%s: changed %q, gone %q; want %q, %q", test.name, paths, gone, test.changed, test.gone)
		}
	}
}
