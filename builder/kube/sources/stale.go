package sources

import (
	"path"
	"strings"
)

// A Change is what differs between the sources that kept objects were compiled
// from and those to be compiled now, as far as kept objects care.
//
// Go before 1.10 judges staleness by modification times. It does not see a
// source file that was removed, one edited with an old time, or changed flags;
// so kbuild judges by content, and leaves to Go's own judgement only that
// whatever depends on a rebuilt package is older than it.
type Change struct {
	// Any says that there is a difference at all.
	Any bool
	// All is why no kept object may be trusted, or "".
	All string

	dirs     map[string]bool // directories in which something differs
	links    map[string]bool // links
	withLink map[string]bool // directories with a link among their entries
	goDirs   map[string]bool // directories of the new sources with Go files
}

// Compare tells how the sources now differ from those before.
func Compare(before, now Manifest) Change {
	c := Change{dirs: map[string]bool{}, links: map[string]bool{}, withLink: map[string]bool{}, goDirs: map[string]bool{}}
	differs := func(e Entry) {
		c.Any = true
		c.dirs[path.Dir(e.Path)] = true
		if e.Kind != Dir && c.All == "" && reachesFar(e.Path) {
			c.All = e.Path + " changed"
		}
	}
	for i, j := 0, 0; i < len(before) || j < len(now); {
		switch {
		case j == len(now) || i < len(before) && before[i].Path < now[j].Path:
			differs(before[i])
			i++
		case i == len(before) || now[j].Path < before[i].Path:
			differs(now[j])
			j++
		default:
			if before[i] != now[j] {
				differs(before[i])
				differs(now[j])
			}
			i, j = i+1, j+1
		}
	}
	for _, m := range []Manifest{before, now} {
		for _, e := range m {
			if e.Kind == Link {
				c.links[e.Path], c.withLink[path.Dir(e.Path)] = true, true
			}
		}
	}
	for _, e := range now {
		if e.Kind == File && strings.HasSuffix(e.Path, ".go") {
			c.goDirs[path.Dir(e.Path)] = true
		}
	}
	return c
}

// Diff tells what turns one state of the sources into another: the entries that
// are new or different, in order, and the paths that are gone. Of a directory
// that is gone only its own path is told, and nothing of what was below a
// directory that is now something else.
func Diff(before, now Manifest) (changed Manifest, gone []string) {
	dirs := map[string]bool{".": true}
	for _, e := range now {
		for d := path.Dir(e.Path); !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
		}
		if e.Kind == Dir {
			dirs[e.Path] = true
		}
	}
	for i, j := 0, 0; i < len(before) || j < len(now); {
		switch {
		case j == len(now) || i < len(before) && before[i].Path < now[j].Path:
			if p := before[i].Path; dirs[path.Dir(p)] && !dirs[p] {
				gone = append(gone, p)
			}
			i++
		case i == len(before) || now[j].Path < before[i].Path:
			changed = append(changed, now[j])
			j++
		default:
			if before[i] != now[j] {
				changed = append(changed, now[j])
			}
			i, j = i+1, j+1
		}
	}
	return changed, gone
}

// reachesFar reports whether a file may decide how packages in other directories
// are compiled: scripts pass flags, C files are included from anywhere.
func reachesFar(file string) bool {
	base := path.Base(file)
	switch path.Ext(base) {
	case ".sh", ".bash", ".mk", ".env",
		".c", ".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".inc", ".m", ".s", ".S", ".sx", ".swig", ".swigcxx",
		".syso":
		return true
	case "":
		// Makefile, and scripts without an ending.
		return base != "LICENSE" && base != "OWNERS" && base != "README" && base != "Dockerfile"
	}
	return false
}

// Keeps judges a file in a kept directory: rel is its path below persistent,
// the path of that directory in the container, where the sources lie in
// workdir. Directories themselves always stay.
func (c Change) Keeps(workdir, persistent, rel string) bool {
	if !c.Any {
		return true
	}
	object, ok := strings.CutPrefix(rel, "pkg/")
	if path.Base(persistent) == "pkg" {
		object, ok = rel, true
	}
	switch {
	case ok:
		return c.All == "" && c.keepsObject(workdir, object)
	case strings.HasPrefix(rel, "bin/"):
		// Which package a program was linked from, and with which version,
		// does not show; linking again is cheap.
		return false
	}
	return true
}

// keepsObject judges a compiled package, "linux_amd64/k8s.io/kubernetes/pkg/api.a".
// What cannot be traced to one unchanged directory of the sources goes.
func (c Change) keepsObject(workdir, object string) bool {
	_, importPath, ok := strings.Cut(object, "/")
	importPath, isArchive := strings.CutSuffix(importPath, ".a")
	if !ok || !isArchive {
		return false
	}
	dir := "Godeps/_workspace/src/" + importPath
	if own, ok := strings.CutPrefix(importPath, strings.TrimPrefix(workdir, "/go/src/")+"/"); ok {
		dir = own
	}
	if !c.goDirs[dir] || c.dirs[dir] || c.withLink[dir] {
		return false
	}
	for d := dir; d != "."; d = path.Dir(d) {
		if c.links[d] {
			return false // the package's files lie elsewhere
		}
	}
	return true
}
