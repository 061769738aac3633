// Package toolchain gets a Go toolchain from where its releases are kept, the
// Go module proxy, or from this host, and verifies that it is the one asked for.
// It knows module proxies and the checksum database, and nothing of containers
// or Kubernetes.
//
// The proxy serves every release as the module golang.org/toolchain, version
// v0.0.1-goVERSION.GOOS-GOARCH; see "Go Toolchains" at go.dev/doc/toolchain.
package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/golang"
	"github.com/kbuild/kbuild/storage/files"
)

// modulePath is the module whose versions are the releases of Go.
const modulePath = "golang.org/toolchain"

// A Toolchain is a Go toolchain that lies on this host, checked.
type Toolchain struct {
	// Version is what its VERSION file says, such as "go1.15.15".
	Version string
	// Path is the archive, or the GOROOT directory.
	Path string
	// Sum is the module's hash, "h1:...", as in a go.sum file; empty for a
	// local toolchain, which is taken as it is.
	Sum string
	// Source says where it came from, for people.
	Source string
	// Relocated reports whether it may have been made for another directory than
	// /usr/local/go, so that it has to be told where it is.
	Relocated bool
}

// Options say where toolchains come from and how they are verified. The
// zero value does what the go command does.
type Options struct {
	// Arch is Go's name of the processor it is to run on; empty is this host's.
	Arch string
	// Sum is what the module's hash has to be: "h1:..." itself, or a go.sum
	// file that has a line for it. Empty: the checksum database says.
	Sum string
	// Cache is the directory downloads are kept in. It is required.
	Cache string
	// Getenv is os.Getenv or a test's. GOPROXY, GOSUMDB and GOENV are asked of
	// it, and the user's go env file is read as the go command reads it.
	Getenv func(string) string
	// Log gets one-line messages.
	Log func(format string, args ...any)
}

func (o Options) arch() string {
	if o.Arch != "" {
		return o.Arch
	}
	return runtime.GOARCH
}

func (o Options) log(format string, args ...any) {
	if o.Log != nil {
		o.Log(format, args...)
	}
}

// IsVersion tells a release of Go, "1.15.15" or "go1.4", from a path.
func IsVersion(s string) bool {
	_, ok := golang.Parse(s)
	return ok
}

// wanted is a release that is asked for.
type wanted struct {
	golang.Release
	anyPatch bool // "1.15": any release of the line will do, the newest best
}

func parseWanted(version string) (wanted, bool) {
	r, ok := golang.Parse(version)
	return wanted{r, strings.Count(version, ".") < 2}, ok
}

// choose picks the release to take for one that is wanted, out of what a proxy
// lists: the very one; the newest of its line where the patch is left open;
// else, unless it has to be exact, the nearest patch release, of two that are
// equally near the newer.
func choose(listed []string, want wanted, exact bool) (string, bool) {
	best, distance, newest := "", -1, -1
	for _, v := range listed {
		r, ok := golang.Parse(v)
		if !ok || !r.SameLine(want.Release) || r.Pre != want.Pre {
			continue
		}
		d := max(want.Patch-r.Patch, r.Patch-want.Patch)
		switch {
		case want.anyPatch:
			if r.Patch > newest {
				best, newest = v, r.Patch
			}
		case exact && d != 0:
		case distance < 0, d < distance, d == distance && r.Patch > newest:
			best, distance, newest = v, d, r.Patch
		}
	}
	return best, best != ""
}

// Find downloads a release of Go, "1.15.15", from the module proxy, or reuses the
// one that an earlier Find left in the cache, and verifies its sum. "1.15" is the
// newest patch release. Unless exact is set, the nearest patch release stands for
// one that does not exist. Nothing unverified is left behind.
func Find(ctx context.Context, version string, exact bool, opts Options) (Toolchain, error) {
	t, err := find(ctx, version, exact, opts)
	if err != nil {
		return Toolchain{}, fmt.Errorf("get Go %s: %w", strings.TrimPrefix(version, "go"), err)
	}
	return t, nil
}

func find(ctx context.Context, version string, exact bool, opts Options) (Toolchain, error) {
	want, ok := parseWanted(version)
	if !ok {
		return Toolchain{}, fmt.Errorf("%q is not a release of Go", version)
	}
	if strings.HasPrefix(opts.Sum, "h1:") && len(opts.Sum) != len("h1:")+44 {
		return Toolchain{}, fmt.Errorf("the sum %q is not h1: and 44 characters", opts.Sum)
	}
	env, err := readEnvironment(opts.Getenv)
	if err != nil {
		return Toolchain{}, err
	}
	proxies, err := parseProxies(env("GOPROXY"))
	if err != nil {
		return Toolchain{}, err
	}
	f := &finder{Options: opts, proxies: proxies, sumdb: env("GOSUMDB")}
	if err := os.MkdirAll(opts.Cache, 0o700); err != nil {
		return Toolchain{}, fmt.Errorf("make the cache: %w", err)
	}
	// One that is here asks nobody which others there are.
	if !want.anyPatch {
		if _, err := os.Stat(f.cached(want.Name())); err == nil {
			return f.take(ctx, want.Name())
		}
	}
	name, err := f.choose(ctx, want, exact)
	if err != nil {
		return Toolchain{}, err
	}
	t, err := f.take(ctx, name)
	for n := 0; err != nil && !exact && refused(err) && n < others; n++ {
		// Some proxies list more than they hand out.
		f.log("%s is listed but not available: %v", name, err)
		f.unavailable = append(f.unavailable, name)
		next, chooseErr := f.choose(ctx, want, exact)
		if chooseErr != nil || slices.Contains(f.unavailable, next) {
			break
		}
		name = next
		t, err = f.take(ctx, name)
	}
	return t, err
}

// others is how many more releases are tried.
const others = 8

// finder is one Find.
type finder struct {
	Options
	proxies []proxy
	sumdb   string
	// unavailable are releases that are listed but not available.
	unavailable []string
}

// moduleVersion returns the version of the module for a release such as go1.4.3.
func (f *finder) moduleVersion(name string) string {
	return "v0.0.1-" + name + ".linux-" + f.arch()
}

func (f *finder) cached(name string) string {
	return filepath.Join(f.Cache, f.moduleVersion(name)+".zip")
}

// choose asks the proxies which releases there are.
func (f *finder) choose(ctx context.Context, want wanted, exact bool) (string, error) {
	var listed []string
	err := f.each(func(p proxy) error {
		text, err := p.get(ctx, modulePath+"/@v/list", longestList)
		if err != nil {
			return err
		}
		listed = nil
		for _, line := range strings.Fields(string(text)) {
			if v, ok := strings.CutPrefix(line, "v0.0.1-"); ok {
				if v, ok = strings.CutSuffix(v, ".linux-"+f.arch()); ok && !slices.Contains(f.unavailable, v) {
					listed = append(listed, v)
				}
			}
		}
		if name, ok := choose(listed, want, exact); ok {
			listed = []string{name}
			return nil
		}
		return errNotThere
	})
	switch {
	case err == nil:
		return listed[0], nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case !want.anyPatch && errors.Is(err, errNotThere) && !slices.ContainsFunc(listed, IsVersion):
		// A proxy that lists nothing may have it anyway.
		return want.Name(), nil
	case !errors.Is(err, errNotThere):
		return "", err
	}
	near, _ := choose(listed, want, false)
	err = fmt.Errorf("no module proxy of GOPROXY has it for linux/%s", f.arch())
	return "", &Error{NoRelease, err, strings.TrimPrefix(near, "go")}
}

// take has a release in the cache, checked.
func (f *finder) take(ctx context.Context, name string) (Toolchain, error) {
	want, from, err := f.wanted(ctx, name)
	if err != nil {
		return Toolchain{}, err
	}
	file := f.cached(name)
	source := "the cache"
	if _, err := os.Stat(file); err == nil {
		got, err := hashZip(ctx, file)
		if err != nil || got != want {
			f.log("%s in the cache is not what %s says: downloading it again", name, from)
			if err := os.Remove(file); err != nil {
				return Toolchain{}, err
			}
		}
	}
	if _, err := os.Stat(file); err != nil {
		if source, err = f.download(ctx, name, file, want, from); err != nil {
			return Toolchain{}, err
		}
	}
	t := Toolchain{Path: file, Sum: want, Source: source}
	if err := t.inspect(ctx, f.arch()); err != nil {
		return Toolchain{}, err
	}
	return t, nil
}

// download downloads a release from the first proxy that has it. It gets its place
// in the cache only when its hash is the one wanted. What a killed run left there
// goes.
func (f *finder) download(ctx context.Context, name, file, want, from string) (source string, err error) {
	cache, err := files.OpenDir(f.Cache)
	if err != nil {
		return "", err
	}
	defer cache.Close()
	if err := cache.RemoveUnfinished(); err != nil {
		return "", err
	}
	part, unfinished, err := cache.CreateUnfinished()
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, cache.Remove(unfinished))
		}
		err = errors.Join(err, part.Close())
	}()
	path := modulePath + "/@v/" + f.moduleVersion(name) + ".zip"
	err = f.each(func(p proxy) error {
		f.log("downloading %s from %s", name, p)
		source = p.String()
		if err := part.Truncate(0); err != nil {
			return err
		}
		return p.copy(ctx, path, part)
	})
	if errors.Is(err, errNotThere) {
		return "", fmt.Errorf("no module proxy of GOPROXY has %s: %w", f.moduleVersion(name), err)
	}
	if err != nil {
		return "", err
	}
	if err := part.Sync(); err != nil {
		return "", err
	}
	got, err := hashZip(ctx, part.Name())
	if err != nil {
		return "", fmt.Errorf("%s from %s: %w", name, source, err)
	}
	if got != want {
		return "", &SumError{Source: source, Module: f.moduleVersion(name), Has: got, Want: want, From: from}
	}
	return source, cache.Rename(unfinished, cache, filepath.Base(file))
}

// Local takes a toolchain of this host as it is: a GOROOT directory, a .tar.gz
// as go.dev/dl has it, or the module's .zip; of the last opts.Sum is verified,
// where that is set.
func Local(ctx context.Context, path string, opts Options) (Toolchain, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Toolchain{}, fmt.Errorf("toolchain %s: %w", path, err)
	}
	t := Toolchain{Path: abs, Source: abs}
	info, err := os.Stat(abs)
	if errors.Is(err, os.ErrNotExist) {
		err = &Error{NoForm, fmt.Errorf("toolchain %q is neither a release nor a file", path), ""}
		return Toolchain{}, err
	}
	if err != nil {
		return Toolchain{}, fmt.Errorf("toolchain: %w", err)
	}
	t.Relocated = info.IsDir()
	if opts.Sum != "" {
		if !isZip(abs) {
			return Toolchain{}, fmt.Errorf("toolchain %s: a go.sum hash is that of a module's .zip, not of this", path)
		}
		if err := t.checkLocal(ctx, opts); err != nil {
			return Toolchain{}, err
		}
	}
	if err := t.inspect(ctx, opts.arch()); err != nil {
		return Toolchain{}, err
	}
	return t, nil
}

func (t *Toolchain) checkLocal(ctx context.Context, opts Options) error {
	if err := t.inspect(ctx, opts.arch()); err != nil {
		return err
	}
	f := &finder{Options: opts}
	want, from, err := f.wanted(ctx, t.Version)
	if err != nil {
		return err
	}
	got, err := hashZip(ctx, t.Path)
	if err != nil {
		return fmt.Errorf("toolchain %s: %w", t.Path, err)
	}
	if got != want {
		return &SumError{Source: t.Path, Module: f.moduleVersion(t.Version), Has: got, Want: want, From: from}
	}
	t.Sum = want
	return nil
}
