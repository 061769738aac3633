package kube

import (
	"cmp"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
)

// maxNear is how many names are proposed for one that is wrong.
const maxNear = 5

// near returns the targets that may have been meant by a name, the nearest first:
// those that are few edits away, or whose last part holds that of the name.
func (n targetNames) near(name string) []string {
	type candidate struct {
		target   string
		distance int
	}
	base := path.Base(name)
	limit := max(1, len(base)/3)
	var candidates []candidate
	if dir := path.Dir(name); strings.HasSuffix(name, ".test") && n.isTest(testsOf(dir)) {
		candidates = append(candidates, candidate{testsOf(dir), 0})
	}
	for _, target := range n.all() {
		last := path.Base(target)
		// A wrong directory is less of a mistake than a wrong name, and the
		// names of most commands begin with the same five letters.
		c := candidate{target, min(editDistance(name, target), editDistance(base, last),
			editDistance(base, strings.TrimPrefix(last, "kube-")))}
		if len(base) >= 3 && strings.Contains(last, base) {
			c.distance = min(c.distance, 1)
		}
		if c.distance <= limit && n.isTarget(target) {
			candidates = append(candidates, c)
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, c := range candidates[:min(maxNear, len(candidates))] {
		names = append(names, c.target)
	}
	return names
}

// testsOf returns the target that is the tests of a directory.
func testsOf(dir string) string { return path.Join(dir, path.Base(dir)+".test") }

// editDistance returns the number of bytes to insert, remove, replace or swap with
// a neighbour that makes a into b.
func editDistance(a, b string) int {
	// Three rows of the usual table: the one before the last is for swaps.
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// declaresMain reports whether a Go file is of package main.
func declaresMain(source []byte) bool {
	f, err := parser.ParseFile(token.NewFileSet(), "", source, parser.PackageClauseOnly)
	return err == nil && f.Name.Name == "main"
}
