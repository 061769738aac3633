package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/builder/trust"
	"github.com/kbuild/kbuild/mirror"
	"github.com/opencontainers/go-digest"
)

// What a machine compiled travels to others as an image, see [objects.State.Export].
// It is read beside the image step and written after the build, and neither decides
// whether the build succeeds: what goes wrong is said in one line.

// Caches say where compiled objects come from that another machine compiled, and
// where those of this build go. No file of a tree has a say in it.
type Caches struct {
	From []mirror.CachePlace // in order; none: nothing is read
	To   mirror.CachePlace   // zero: nothing is written
	// TrustFrom are levels of trust whose caches are read besides the tree's own.
	TrustFrom []trust.Level
}

func (c Caches) writes() bool { return c.To.String() != "" }

// A CacheInTreeError says that a cache lies where it would be one of the sources.
type CacheInTreeError struct {
	Place  mirror.CachePlace
	Output string // the directory of the tree in which it may lie
}

func (e *CacheInTreeError) Error() string {
	return fmt.Sprintf("the cache %s lies in the tree, and would be one of its sources", e.Place)
}

// A CacheLinkError says that a link in the tree leads from where a cache lies to
// somewhere else: a stranger's tree would say where kbuild writes.
type CacheLinkError struct {
	Place mirror.CachePlace
	Dir   string // where it leads
}

func (e *CacheLinkError) Error() string {
	return fmt.Sprintf("the cache %s lies in the tree, and a symbolic link there leads to %s", e.Place, e.Dir)
}

// A CacheUnused notice says why a cache was not read or written.
type CacheUnused struct{ Err error }

func (CacheUnused) notice() {}

// checkCaches checks that no cache lies among the tree's sources, and plans the levels
// to read.
func (c *checker) checkCaches(plan *TreePlan) error {
	places := slices.Clone(c.Caches.From)
	if c.Caches.writes() {
		places = append(places, c.Caches.To)
	}
	for _, place := range places {
		if place.IsRegistry() {
			continue
		}
		dir := realPath(place.Dir())
		rel, inside := below(plan.RealRoot, dir)
		if !inside && isNamedIn(plan.RealRoot, place.Dir()) {
			return &CacheLinkError{Place: place, Dir: dir}
		}
		if !inside {
			continue
		}
		output := plan.Tree.Recipe.OutputRoot
		if !strings.HasPrefix(rel, "_output/") && (output == "" || !strings.HasPrefix(rel, output+"/")) {
			return &CacheInTreeError{Place: place, Output: filepath.Join(plan.Tree.Root, "_output")}
		}
	}
	plan.CacheLevels = readLevels(plan.Level, c.Level, c.Caches.TrustFrom, os.Getenv)
	return nil
}

// below returns the path of a directory relative to one that it is below, or is.
func below(root, dir string) (rel string, ok bool) {
	rel, err := filepath.Rel(root, dir)
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// isNamedIn reports whether a path leads through a directory, whose path has no links.
func isNamedIn(root, path string) bool {
	for ; path != filepath.Dir(path); path = filepath.Dir(path) {
		if _, ok := below(root, realPath(path)); ok {
			return true
		}
	}
	return false
}

// dryCaches says what would be read and written.
func (c *checker) dryCaches() {
	if !c.does(StepCompile) || c.Work.Kind != OwnCommand {
		return
	}
	for _, place := range c.Caches.From {
		c.say(StepCache, "would read compiled objects from %s, where nothing is kept here", place)
	}
	if c.Caches.writes() {
		c.say(StepCache, "would write compiled objects to %s", c.Caches.To)
	}
}

// readLevels are the levels whose caches a tree of a level reads, its own first. A
// pull request reads those of the branch that it is to be merged into, unless the
// user named the level.
func readLevels(own, given trust.Level, further []trust.Level, getenv func(string) string) []trust.Level {
	levels := []trust.Level{own}
	if base, ok := trust.Base(getenv); ok && given.Key == "" {
		levels = append(levels, base)
	}
	var list []trust.Level
	seen := map[string]bool{}
	for _, l := range append(levels, further...) {
		if id := l.CacheID(); !seen[id] {
			seen[id] = true
			list = append(list, l)
		}
	}
	return list
}

// realPath resolves the links in a path, of which the end need not exist.
func realPath(path string) string {
	for above, rest := path, ""; ; {
		if found, err := filepath.EvalSymlinks(above); err == nil {
			return filepath.Join(found, rest)
		}
		if above == filepath.Dir(above) {
			return path
		}
		above, rest = filepath.Dir(above), filepath.Join(filepath.Base(above), rest)
	}
}

// cacheTag is the tag that a state has at a level. The level says who wrote it, and
// the name says what it is for.
func cacheTag(l trust.Level, state *objects.State) string {
	return cachePrefix + l.CacheID() + "-" + state.CacheName()
}

const cachePrefix = "kbuild-"

// cacheOptions are those of mirror's functions for one cache. A password for the
// mirrors goes to no other host.
func (b *build) cacheOptions(place mirror.CachePlace) mirror.Options {
	return b.voice.cacheOptions(b.Mirrors, b.Offline, place)
}

func (v voice) cacheOptions(m Mirrors, offline bool, place mirror.CachePlace) mirror.Options {
	opts := m.options(v, StepCache)
	// One line says what became of it.
	opts.Log, opts.Progress, opts.Offline = nil, nil, offline
	if !slices.ContainsFunc(m.Sources, func(s mirror.Source) bool { return s.IsRegistry() && s.Host() == place.Host() }) {
		opts.Creds = ""
	}
	return opts
}

// openTable opens a cache and reads its table.
func openTable(ctx context.Context, place mirror.CachePlace, tag string, opts mirror.Options) (
	c *mirror.CacheImage, t *travel.Table, err error) {
	if c, err = mirror.OpenCache(ctx, place, tag, opts); err != nil {
		return nil, nil, err
	}
	t, err = readTable(ctx, c, place.With(tag))
	return c, t, err
}

// readTable reads the table of a cache that has a name.
func readTable(ctx context.Context, c *mirror.CacheImage, name string) (*travel.Table, error) {
	first := c.Layers()[0]
	body, err := c.Layer(ctx, 0)
	if err != nil {
		return nil, err
	}
	t, err := travel.ReadTable(travel.Layer{Digest: first.Digest, Size: first.Size}, body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, fmt.Errorf("cache %s: %w", name, err)
	}
	return t, nil
}

// isUnusable reports whether an error says that a cache holds what is of no use to
// anybody, so that it may be written as if there were none. One that says only that it
// could not be read to its end does not.
func isUnusable(err error) bool {
	var invalid *travel.InvalidError
	var format *travel.FormatError
	var answer *mirror.SourceError
	return errors.As(err, &invalid) || errors.As(err, &format) || errors.As(err, &answer) &&
		slices.Contains([]mirror.Problem{mirror.WrongBytes, mirror.NotThere, mirror.NotImage}, answer.Problem)
}

// opener opens the layers of a cache by their digests.
func opener(c *mirror.CacheImage) travel.Opener {
	at := map[digest.Digest]int{}
	for i, l := range c.Layers() {
		at[l.Digest] = i
	}
	return func(ctx context.Context, l travel.Layer) (io.ReadCloser, error) {
		i, ok := at[l.Digest]
		if !ok || c.Layers()[i].Size != l.Size {
			return nil, fmt.Errorf("the cache has no layer %.19s", l.Digest)
		}
		return c.Layer(ctx, i)
	}
}

// importOptions say what will be compiled.
func (p Plan) importOptions() objects.ImportOptions {
	return objects.ImportOptions{Targets: p.Programs, Sources: p.Sources, Version: p.Version}
}
