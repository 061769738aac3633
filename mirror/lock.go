package mirror

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/containers/image/v5/docker/reference"
	"github.com/opencontainers/go-digest"
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
	// Platform is never the zero one.
	Platform Platform
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
	e := LockEntry{Name: fields[0]}
	if canonical, err := lockName(e.Name); err != nil {
		return LockEntry{}, err
	} else if canonical != e.Name {
		return LockEntry{}, fmt.Errorf("%q is not a full image name; %s would be", e.Name, canonical)
	}
	var err error
	if e.Platform, err = ParsePlatform(fields[1]); err != nil {
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
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Platform.String(), b.Platform.String()))
	})
}

// Entry finds the entry of an image.
func (l Lock) Entry(name string, platform Platform) (LockEntry, bool) {
	platform = platform.OrHost()
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
	fields := []string{e.Name, e.Platform.String()}
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
