package mirror

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/containers/image/v5/docker/reference"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// Lock is which image each name stands for, by digest, as docs/lock.md
// describes it. The zero value locks nothing.
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
	// "". The manifest's says more, so nothing but the manifest's is required.
	Index digest.Digest
	// Manifest is the digest of the manifest as a registry serves it. "": the
	// image was locked in a form that has none of its own, as docker-archive.
	Manifest digest.Digest
	// Config is the digest of what the configuration says of how the image runs,
	// in a form that a conversion does not change. "" only where Layers is empty.
	Config digest.Digest
	// Layers are the digests of the unpacked layers, the DiffIDs of the OCI image
	// specification, the lowest first. Empty for an image in Docker's old
	// schema 1, which does not tell them.
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

// LockSyntaxError says where a lock file cannot be read.
type LockSyntaxError struct {
	Line   int // counted from 1
	Reason string
	hint   string
}

func (e *LockSyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Hint says what to do about it.
func (e *LockSyntaxError) Hint() string { return e.hint }

// ParseLock reads a lock file. The errors are [*LockSyntaxError].
func ParseLock(data []byte) (Lock, error) {
	const again = "take the file from version control again, or write it anew with kbuild lock"
	wrong := func(line int, format string, args ...any) (Lock, error) {
		return Lock{}, &LockSyntaxError{line, fmt.Sprintf(format, args...), again}
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
			return wrong(n, "two versions of the file were merged and the conflict was not resolved")
		case !header:
			v, ok := strings.CutPrefix(line, lockHeader)
			if !ok {
				return wrong(n, "is not %q: this is no lock file of kbuild's", lockHeader+lockVersion)
			}
			if v != lockVersion {
				return Lock{}, &LockSyntaxError{n, fmt.Sprintf("the file has version %q, this kbuild knows version %s", v, lockVersion),
					"use the kbuild that wrote it, or a newer one"}
			}
			header = true
			continue
		}
		entry, err := parseLockLine(line)
		if err != nil {
			return wrong(n, "%v", err)
		}
		if _, ok := lock.Entry(entry.Name, entry.Platform); ok {
			return wrong(n, "%s for %s was locked before", entry.Name, entry.Platform)
		}
		lock.Entries = append(lock.Entries, entry)
	}
	if !header {
		return wrong(1, "is not %q: this is no lock file of kbuild's", lockHeader+lockVersion)
	}
	lock.sort()
	return lock, nil
}

func parseLockLine(line string) (LockEntry, error) {
	fields := strings.Fields(line)
	if len(fields) < 3 {
		return LockEntry{}, errors.New("is not NAME PLATFORM KEY=DIGEST...")
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
			return LockEntry{}, fmt.Errorf("%s= stands there twice", key)
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
		return LockEntry{}, errors.New("config= and layers= go together")
	}
	if e.Manifest == "" && e.Config == "" {
		return LockEntry{}, errors.New("has neither manifest= nor layers=")
	}
	return e, nil
}

// lockName makes the one form of an image's name that stands in a lock.
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

// Entry finds the entry of an image; a platform of "" is linux on this host's
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

// Set adds an entry, in place of the one of the same name and platform.
func (l *Lock) Set(e LockEntry) {
	l.Entries = slices.DeleteFunc(slices.Clone(l.Entries), func(old LockEntry) bool {
		return old.Name == e.Name && old.Platform == e.Platform
	})
	l.Entries = append(l.Entries, e)
	l.sort()
}

// Marshal writes the lock as [ParseLock] reads it.
func (l Lock) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString(lockComment + lockHeader + lockVersion + "\n")
	for _, e := range l.Entries {
		b.WriteString("\n" + e.String() + "\n")
	}
	return b.Bytes()
}

// String is the entry's line in a lock file.
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

// Match is by what an image was found to be the locked one.
type Match int

const (
	// NoLock: there was no entry to hold the image against.
	NoLock Match = iota
	// ByManifest: it is the very manifest.
	ByManifest
	// ByLayers: it is another manifest, of the same layers and the same
	// configuration: the image in another format, or compressed otherwise.
	ByLayers
)

// LockError says that an image is not the one that is locked.
type LockError struct {
	Entry LockEntry
	// Has is the digest of the manifest found.
	Has digest.Digest
	// Why says what else differs, where there is no locked manifest to name or
	// the layers could have matched.
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

// Hint says what to do about it.
func (e *LockError) Hint() string {
	hint := "another mirror may still have it"
	if e.Entry.Manifest != "" {
		hint += "; REF@" + e.Entry.Manifest.String() + " asks a registry for just the locked image"
	}
	return hint + "; if the change is meant, kbuild lock writes the new digests"
}

// identity is what an image is, as far as it is known.
type identity struct {
	manifest digest.Digest
	madeUp   bool // the manifest is none of the image's own
	index    digest.Digest
	config   digest.Digest
	layers   []digest.Digest
}

// entry makes the lock's entry of an image.
func (i identity) entry(name reference.Named, p platform) LockEntry {
	e := LockEntry{Name: name.String(), Platform: p.String(), Index: i.index, Manifest: i.manifest, Config: i.config, Layers: i.layers}
	if i.madeUp {
		e.Index, e.Manifest = "", ""
	}
	if len(e.Layers) == 0 {
		e.Config = ""
	}
	return e
}

// match holds an image against the entry.
func (e LockEntry) match(i identity) (Match, error) {
	if e.Manifest != "" && e.Manifest == i.manifest {
		return ByManifest, nil
	}
	wrong := &LockError{Entry: e, Has: i.manifest}
	switch {
	case len(e.Layers) == 0 || len(i.layers) == 0:
	case !slices.Equal(e.Layers, i.layers):
		wrong.Why = "and other layers"
	case e.Config != i.config:
		wrong.Why = "the same layers, but other settings of the container"
	default:
		return ByLayers, nil
	}
	return NoLock, wrong
}

// MatchStored holds an image of the store against a lock's entry: by the
// manifest it was copied with, else by its layers. A mismatch is a [*LockError].
func MatchStored(store *storage.Store, img storage.Image, e LockEntry) (Match, error) {
	i, err := storedIdentity(store, img)
	if err != nil {
		return NoLock, err
	}
	return e.match(i)
}

// LockStored makes the lock's entry of an image that the store has under a
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
		return LockEntry{}, fmt.Errorf("image %s tells neither its manifest nor its layers", img.ID)
	}
	return e, nil
}

// storedIdentity is what an image of the store is. The store's own manifest may
// be a converted one; the origin has that of the source.
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

// runDigest is the digest of what a configuration says of how containers of the
// image run. The bytes of a configuration change when an image is converted,
// and the digests of the layers say nothing of it.
func runDigest(config []byte) (digest.Digest, error) {
	// Shell and OnBuild are Docker's; an image that lost them with a conversion
	// is no longer the same.
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
	// An empty list and none are alike, and so are they to encoding/json.
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
