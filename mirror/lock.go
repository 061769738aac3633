package mirror

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/containers/image/v5/docker/reference"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// Lock records which image each name stands for, by digest; docs/lock.md
// describes the file. The zero value locks nothing.
type Lock struct {
	// Entries are sorted by name, then platform; no two have both in common.
	Entries []LockEntry
}

// LockEntry is one image for one platform.
type LockEntry struct {
	// Name is the name a tree asks for, with its registry and its tag or digest.
	Name string
	// Platform is os/arch or os/arch/variant.
	Platform string
	// Index is the digest of the list of platforms the image was chosen from, or
	// "". It is informative: the manifest's digest decides.
	Index digest.Digest
	// Manifest is the digest of the manifest as a registry serves it. "": the
	// image was locked in a form without one, such as docker-archive.
	Manifest digest.Digest
	// Config is the digest of what the configuration says about how the image runs,
	// in a form that a conversion does not change. "" only where Layers is empty.
	Config digest.Digest
	// Layers are the digests of the unpacked layers, the DiffIDs of the OCI image
	// specification, the lowest first. Empty for an image in Docker's old
	// schema 1, which does not list them.
	Layers []digest.Digest
}

// LockFile is the name of the file, in the root directory of a tree.
const LockFile = "kbuild.lock"

// MaxLock bounds a lock file, in bytes: a thousand images of 127 layers.
const MaxLock = 16 << 20

// lockHeader is the first line of a lock file, without the version.
const lockHeader = "kbuild-lock "

const lockVersion = "1"

const lockComment = `# Which images this tree is built in, by digest. Written by "kbuild lock";
# meant to be committed; docs/lock.md of kbuild describes it.
`

// LockSyntaxError reports where a lock file cannot be parsed.
type LockSyntaxError struct {
	Line   int // counted from 1
	Reason error
}

func (e *LockSyntaxError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Reason) }

// Unwrap returns what is wrong with the line; a [*VersionError] where that is
// the version of the file.
func (e *LockSyntaxError) Unwrap() error { return e.Reason }

// ParseLock parses a lock file. The errors are [*LockSyntaxError].
func ParseLock(data []byte) (Lock, error) {
	wrong := func(line int, format string, args ...any) (Lock, error) {
		return Lock{}, &LockSyntaxError{line, fmt.Errorf(format, args...)}
	}
	if len(data) > MaxLock {
		return wrong(1, "the file is longer than %d bytes", MaxLock)
	}
	var lock Lock
	header := false
	for i, line := range strings.Split(string(data), "\n") {
		n := i + 1
		line = strings.TrimSuffix(line, "\r")
		switch {
		case !utf8.ValidString(line):
			return wrong(n, "is not text")
		case strings.TrimSpace(line) == "", strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "<<<<<<< "), line == "=======", strings.HasPrefix(line, ">>>>>>> "):
			return wrong(n, "unresolved conflict of a merge")
		case !header:
			v, ok := strings.CutPrefix(line, lockHeader)
			if !ok {
				return wrong(n, "is not %q: not a lock file of kbuild", lockHeader+lockVersion)
			}
			if v != lockVersion {
				return wrong(n, "%w", &VersionError{File: LockFile, Has: strconv.Quote(v), Knows: lockVersion})
			}
			header = true
			continue
		}
		entry, err := parseLockLine(line)
		if err != nil {
			return wrong(n, "%w", err)
		}
		if _, ok := lock.Entry(entry.Name, entry.Platform); ok {
			return wrong(n, "%s for %s is locked twice", entry.Name, entry.Platform)
		}
		lock.Entries = append(lock.Entries, entry)
	}
	if !header {
		return wrong(1, "is not %q: not a lock file of kbuild", lockHeader+lockVersion)
	}
	lock.sort()
	return lock, nil
}

func parseLockLine(line string) (LockEntry, error) {
	fields := strings.Fields(line)
	if len(fields) < 3 {
		return LockEntry{}, errors.New("is not NAME PLATFORM KEY=DIGEST, with one key or more")
	}
	e := LockEntry{Name: fields[0], Platform: fields[1]}
	if canonical, err := lockName(e.Name); err != nil {
		return LockEntry{}, err
	} else if canonical != e.Name {
		return LockEntry{}, fmt.Errorf("%q is not a full image name; %s would be", e.Name, canonical)
	}
	if _, err := parsePlatform(e.Platform); err != nil {
		return LockEntry{}, err
	}
	seen := map[string]bool{}
	for _, f := range fields[2:] {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			return LockEntry{}, fmt.Errorf("%q is not KEY=DIGEST", f)
		}
		if seen[key] {
			return LockEntry{}, fmt.Errorf("%s= is duplicated", key)
		}
		seen[key] = true
		var list []digest.Digest
		for _, text := range strings.Split(value, ",") {
			d, err := digest.Parse(text)
			if err != nil {
				return LockEntry{}, fmt.Errorf("%s=%s: %w", key, text, err)
			}
			list = append(list, d)
		}
		if key != "layers" && len(list) > 1 {
			return LockEntry{}, fmt.Errorf("%s= has more than one digest", key)
		}
		switch key {
		case "index":
			e.Index = list[0]
		case "manifest":
			e.Manifest = list[0]
		case "config":
			e.Config = list[0]
		case "layers":
			e.Layers = list
		default:
			return LockEntry{}, fmt.Errorf("%s= is not index=, manifest=, config= or layers=", key)
		}
	}
	if (e.Config == "") != (len(e.Layers) == 0) {
		return LockEntry{}, errors.New("config= and layers= require each other")
	}
	if e.Manifest == "" && e.Config == "" {
		return LockEntry{}, errors.New("has neither manifest= nor layers=")
	}
	return e, nil
}

// lockName returns the one form in which an image's name is written in a lock.
func lockName(name string) (string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", fmt.Errorf("image name %q: %w", name, err)
	}
	return reference.TagNameOnly(named).String(), nil
}

func (l *Lock) sort() {
	slices.SortFunc(l.Entries, func(a, b LockEntry) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Platform, b.Platform))
	})
}

// Entry finds the entry of an image. A platform of "" is linux on this host's
// architecture.
func (l Lock) Entry(name, platform string) (LockEntry, bool) {
	if platform == "" {
		platform = DefaultPlatform()
	}
	for _, e := range l.Entries {
		if e.Name == name && e.Platform == platform {
			return e, true
		}
	}
	return LockEntry{}, false
}

// Set adds an entry, and replaces one of the same name and platform.
func (l *Lock) Set(e LockEntry) {
	l.Entries = slices.DeleteFunc(slices.Clone(l.Entries), func(old LockEntry) bool {
		return old.Name == e.Name && old.Platform == e.Platform
	})
	l.Entries = append(l.Entries, e)
	l.sort()
}

// Marshal encodes the lock as [ParseLock] parses it.
func (l Lock) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString(lockComment + lockHeader + lockVersion + "\n")
	for _, e := range l.Entries {
		b.WriteString("\n" + e.String() + "\n")
	}
	return b.Bytes()
}

// String returns the entry's line in a lock file.
func (e LockEntry) String() string {
	fields := []string{e.Name, e.Platform}
	add := func(key string, list ...digest.Digest) {
		text := make([]string, 0, len(list))
		for _, d := range list {
			if d != "" {
				text = append(text, d.String())
			}
		}
		if len(text) > 0 {
			fields = append(fields, key+"="+strings.Join(text, ","))
		}
	}
	add("index", e.Index)
	add("manifest", e.Manifest)
	add("config", e.Config)
	add("layers", e.Layers...)
	return strings.Join(fields, " ")
}

// Match is how an image was found to be the locked one.
type Match int

const (
	// NoLock: there was no entry to compare the image with.
	NoLock Match = iota
	// ByManifest: it is the very manifest.
	ByManifest
	// ByLayers: the manifest differs, layers and configuration are the same: it is
	// the image in another format, or compressed differently.
	ByLayers
)

// LockError reports that an image is not the locked one.
type LockError struct {
	own
	Entry LockEntry
	// Has is the digest of the manifest found.
	Has digest.Digest
	// Why is what else differs, where there is no locked manifest to name or the
	// layers could have matched.
	Why string
}

func (e *LockError) Error() string {
	want := "the layers in " + LockFile
	if e.Entry.Manifest != "" {
		want = e.Entry.Manifest.String()
	}
	text := fmt.Sprintf("has %s, %s has %s", e.Has, LockFile, want)
	if e.Why != "" {
		text += " (" + e.Why + ")"
	}
	return text
}

// identity is what an image is, as far as it is known.
type identity struct {
	manifest digest.Digest
	madeUp   bool // the manifest is not the image's own
	index    digest.Digest
	config   digest.Digest
	layers   []digest.Digest
}

// entry returns the lock's entry for an image.
func (i identity) entry(name reference.Named, p platform) LockEntry {
	e := LockEntry{
		Name: name.String(), Platform: p.String(),
		Index: i.index, Manifest: i.manifest, Config: i.config, Layers: i.layers,
	}
	if i.madeUp {
		e.Index, e.Manifest = "", ""
	}
	if len(e.Layers) == 0 {
		e.Config = ""
	}
	return e
}

// match compares an image with the entry.
func (e LockEntry) match(i identity) (Match, error) {
	if e.Manifest != "" && e.Manifest == i.manifest {
		return ByManifest, nil
	}
	wrong := &LockError{Entry: e, Has: i.manifest}
	switch {
	case len(e.Layers) == 0 || len(i.layers) == 0:
	case !slices.Equal(e.Layers, i.layers):
		wrong.Why = "the layers differ, too"
	case e.Config != i.config:
		wrong.Why = "the layers are the same, the settings of the container differ"
	default:
		return ByLayers, nil
	}
	return NoLock, wrong
}

// MatchStored compares an image of the store with a lock's entry: by the manifest
// it was copied with, else by its layers. A mismatch is a [*LockError].
func MatchStored(store *storage.Store, img storage.Image, e LockEntry) (Match, error) {
	i, err := storedIdentity(store, img)
	if err != nil {
		return NoLock, err
	}
	return e.match(i)
}

// LockStored returns the lock's entry for an image that the store has under a
// name, from what was recorded when it was copied. Platform is as in [Options].
func LockStored(store *storage.Store, img storage.Image, name reference.Named, platform string) (LockEntry, error) {
	p, err := parsePlatform(platform)
	if err != nil {
		return LockEntry{}, err
	}
	i, err := storedIdentity(store, img)
	if err != nil {
		return LockEntry{}, err
	}
	e := i.entry(reference.TagNameOnly(name), p)
	if e.Manifest == "" && len(e.Layers) == 0 {
		return LockEntry{}, fmt.Errorf("image %s has neither a manifest of its own nor known layers", img.ID)
	}
	return e, nil
}

// storedIdentity identifies an image of the store. The store's own manifest may be
// a converted one; the origin has that of the source.
func storedIdentity(store *storage.Store, img storage.Image) (identity, error) {
	origin, known, err := ReadOrigin(store, img.ID)
	if err != nil {
		return identity{}, err
	}
	i := identity{manifest: img.Digest, madeUp: true}
	if known {
		i.manifest, i.index = origin.Digest, origin.Index
		transport, _, _ := strings.Cut(origin.Source, ":")
		i.madeUp = transport == transportDockerArchive || transport == transportStorage
	}
	if i.layers, err = store.DiffIDs(img.ID); err != nil {
		return identity{}, err
	}
	data, err := store.Config(img.ID)
	if err != nil {
		return identity{}, err
	}
	if i.config, err = runDigest(data); err != nil {
		return identity{}, fmt.Errorf("configuration of image %s: %w", img.ID, err)
	}
	return i, nil
}

// runDigest returns the digest of what a configuration says about how containers
// of the image run. The bytes of a configuration change when an image is
// converted, and the digests of the layers do not cover it.
func runDigest(config []byte) (digest.Digest, error) {
	// Shell and OnBuild are Docker's. An image that lost them in a conversion is
	// no longer the same.
	var c struct {
		Config struct {
			User, WorkingDir                     string
			Env, Entrypoint, Cmd, Shell, OnBuild []string
		} `json:"config"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return "", err
	}
	run := c.Config
	// An empty list and none mean the same, and encode to the same.
	canonical := struct {
		User       string   `json:",omitempty"`
		Env        []string `json:",omitempty"`
		Entrypoint []string `json:",omitempty"`
		Cmd        []string `json:",omitempty"`
		WorkingDir string   `json:",omitempty"`
		Shell      []string `json:",omitempty"`
		OnBuild    []string `json:",omitempty"`
	}{run.User, run.Env, run.Entrypoint, run.Cmd, run.WorkingDir, run.Shell, run.OnBuild}
	data, err := json.Marshal(canonical)
	if err != nil {
		return "", err
	}
	return digest.FromBytes(data), nil
}
