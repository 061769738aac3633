package objects

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/storage/files"
)

// What a state holds can travel to another machine, in the form of package travel:
// [State.Export] and [State.Import]. Nothing that travels is believed beyond what
// the state of another tree of the same level is: [State.Prepare] judges it by the
// record that comes with it.

// CacheKey returns all that decides what a compiler makes of given sources: a table is
// for the states with the same, byte for byte. What the user gave, which may hold
// passwords, is in it as a sum: whoever reads the cache reads the key.
func (s *State) CacheKey() []byte {
	var outputs []string
	for _, o := range s.recipe.Outputs {
		outputs = append(outputs, o.Container)
	}
	given := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", s.key.Environment, s.key.Flags, s.key.Command))
	return fmt.Appendf(nil, "kbuild travelling state %d, %s\nbase %q\nDockerfile %q\n"+
		"environment, flags and command %x\ndirectory %q\nkept %q %q\noutputs %q\n",
		travel.Format, recordHeader, s.key.Base, s.key.Dockerfile, given,
		s.recipe.Workdir, s.recipe.Persistent, s.further, outputs)
}

// CacheName returns a short name for the key.
func (s *State) CacheName() string {
	sum := sha256.Sum256(s.CacheKey())
	return hex.EncodeToString(sum[:])[:16]
}

// A KeyError says that a table is for another base image, other flags or the like.
type KeyError struct{}

// Error implements error.
func (*KeyError) Error() string {
	return "the state is for a different base image, environment or flags"
}

// unused is how old an entry of Go's build cache is made: from an hour on, using it
// gives it the time of the use (cmd/go/internal/cache, mtimeInterval), and from five
// days on it is removed.
const unused = -2 * time.Hour

// TrackUse lets [State.Export] tell which entries of Go's build cache the next command
// used: no others travel. It is called before [State.Prepare].
func (s *State) TrackUse() { s.tracked = time.Now() }

// expireUse makes every entry of Go's build cache look unused.
func (s *State) expireUse() error {
	if s.tracked.IsZero() {
		return nil
	}
	s.tracked = time.Now()
	for name, held := range s.held {
		if !isCache(name) || time.Unix(held.Mtim.Unix()).Before(s.tracked.Add(unused/2)) {
			continue
		}
		file, at := filepath.Join(s.dir, name), s.tracked.Add(unused)
		if err := os.Chtimes(file, at, at); err != nil {
			return err
		}
		var err error
		if held.Stamp, err = files.StampOf(file); err != nil {
			return err
		}
		s.held[name] = held
	}
	return nil
}

// isUsed reports whether the last command used an entry of Go's build cache, as far
// as it shows.
func (s *State) isUsed(held heldFile) bool {
	return s.tracked.IsZero() || time.Unix(held.Mtim.Unix()).After(s.tracked.Add(unused/2))
}

// isAsBuilt reports whether a file of a state is of use for the very sources and the
// version only from which it was made, see [State.Prepare]: programs, and all in
// staging.
func (s *State) isAsBuilt(name string) bool {
	if strings.HasPrefix(name, "out/") {
		return true
	}
	rest, ok := strings.CutPrefix(name, "kept/")
	dir, file, _ := strings.Cut(rest, "/")
	return ok && strings.HasPrefix(file, "bin/") && slices.ContainsFunc(s.recipe.Persistent, func(p string) bool {
		return escape(p) == dir
	})
}

// isNote reports whether a file is one of those that Go's build cache holds besides
// entries: what it says is of this machine.
func isNote(name string) bool {
	return strings.HasPrefix(name, "kept/"+escape(goCache)+"/") && !isCache(name)
}
