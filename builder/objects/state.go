// Package objects keeps what a command compiled between the runs of a tree, and
// removes whatever no longer follows from the sources. It knows trees, and
// nothing of images or containers: these mount the directories it says.
package objects

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// State is what is kept between the runs of one tree with one base image, one
// Dockerfile, one environment and one set of flags: compiled objects, and the
// directory the container's binaries lie in. What it was compiled from is kept
// with it, and everything that no longer follows from the sources is removed
// before a run.
type State struct {
	dir     string
	recipe  kube.Recipe
	further []string // paths in the container that are kept besides the recipe's
	lock    *os.File
	held    inventory // what is kept, as far as it is known to be whole
	spoilt  []string
	key     Key
	tracked time.Time // since when the use of cache entries shows, see TrackUse
}

// Key is everything, besides the sources, that decides what a command
// compiles.
type Key struct {
	Base        string // image id
	Dockerfile  []byte // as filled
	Environment []string
	Flags       []string
	Command     []string
}

const keptStates = 4 // of one tree, beside each other

// Open finds or makes the state for a key below dir, a directory of
// kbuild's own for one tree, see [TreeDir], and removes those not used for longest.
// A new state begins with a copy of what another tree of the same level of trust
// keeps for the same key, if one does: what does not follow from this tree's
// sources goes anyway.
func Open(dir string, recipe kube.Recipe, key Key, further ...string) (*State, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q", key.Base, key.Dockerfile, key.Environment, key.Flags, key.Command)
	name := hex.EncodeToString(h.Sum(nil))[:16]
	s := &State{dir: filepath.Join(dir, "kept", name), recipe: recipe, further: further, key: key}
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o755); err != nil {
		return nil, fmt.Errorf("kept state: %w", err)
	}
	var known bool
	if s.held, known = readInventory(s.dir); !known {
		// There is none, or no command in it ever came to its end.
		if err := os.RemoveAll(s.dir); err != nil {
			return nil, fmt.Errorf("kept state: remove what a killed run left: %w", err)
		}
		if err := s.adopt(TreeDir{Path: dir}, name); err != nil {
			return nil, fmt.Errorf("kept state: copy a different tree's: %w", err)
		}
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("kept state: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("kept state: %w", err)
	}
	// Other trees may copy from here, so that in use means locked. The tree's
	// own lock keeps its other runs away; a copy takes a second.
	if err := files.Flock(lock, unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("kept state: %w", err)
	}
	s.lock = lock
	now := time.Now()
	if err := os.Chtimes(s.dir, now, now); err != nil {
		return nil, fmt.Errorf("kept state: %w", err)
	}
	return s, pruneStates(filepath.Join(dir, "kept"), name)
}

// Close ends the use of the state.
func (s *State) Close() error { return s.lock.Close() }

// pruneStates removes all but the newest states, and never the one in use. A
// time in the future, from before a clock was set right, says nothing.
func pruneStates(dir, current string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("kept state: %w", err)
	}
	age, now := map[string]time.Time{}, time.Now()
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("kept state: %w", err)
		}
		if e.Name() == current {
			continue
		}
		if strings.HasPrefix(e.Name(), ".") { // half a copy that a killed run left
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("remove what a killed run left: %w", err)
			}
			continue
		}
		names, age[e.Name()] = append(names, e.Name()), info.ModTime()
		if info.ModTime().After(now) {
			age[e.Name()] = time.Time{}
		}
	}
	sort.Slice(names, func(i, j int) bool { return age[names[i]].After(age[names[j]]) })
	for _, name := range names[min(keptStates-1, len(names)):] {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove old kept state: %w", err)
		}
	}
	return nil
}

// Staging returns the directory, on the host, in which the container leaves what
// belongs in an output directory of the recipe.
func (s *State) Staging(o kube.Output) string {
	return filepath.Join(s.dir, "out", escape(o.Container))
}

// kept returns the directory, on the host, for a path in the container.
func (s *State) kept(container string) string { return filepath.Join(s.dir, "kept", escape(container)) }

func escape(p string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.TrimPrefix(p, "/"), "%", "%25"), "/", "%2f")
}

// Prepare removes what does not follow from the sources and the version, and what
// is not as it was left, and notes them. It returns the mounts for the container
// and, for the user, why everything had to go, if it had.
func (s *State) Prepare(manifest sources.Manifest, version kube.Version) (mounts []kube.Mount, cold string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("kept state: %w", err)
		}
	}()
	before, known, err := s.readRecord()
	if err != nil {
		return nil, "", err
	}
	switch change := sources.Compare(before.manifest, manifest); {
	case !known:
		cold = "nothing is kept from an earlier build"
	case time.Now().Before(before.time):
		// What is compiled now would look older than what is kept.
		cold = "the clock went back"
	default:
		if cold = change.All; cold != "" {
			break
		}
		if before.version != string(version.File()) {
			change.Any = true
		}
		if err := s.removeSpoilt(); err != nil {
			return nil, "", err
		}
		// What was made with them goes, too.
		change.Any = change.Any || len(s.spoilt) > 0
		if err := s.removeStale(change); err != nil {
			return nil, "", err
		}
		if err := s.expireUse(); err != nil {
			return nil, "", err
		}
	}
	if cold != "" {
		clear(s.held)
		for _, dir := range heldDirs {
			if err := os.RemoveAll(filepath.Join(s.dir, dir)); err != nil {
				return nil, "", err
			}
		}
	}
	for _, p := range append(append([]string(nil), s.recipe.Persistent...), s.further...) {
		if err := os.MkdirAll(s.kept(p), 0o755); err != nil {
			return nil, "", err
		}
		mounts = append(mounts, kube.Mount{Host: s.kept(p), Container: p})
	}
	for _, o := range s.recipe.Outputs {
		if err := os.MkdirAll(s.Staging(o), 0o755); err != nil {
			return nil, "", err
		}
		mounts = append(mounts, kube.Mount{Host: s.Staging(o), Container: o.Container})
	}
	if known && before.version == string(version.File()) && before.manifest.Digest() == manifest.Digest() {
		return mounts, cold, nil
	}
	return mounts, cold, s.writeRecord(manifest, version)
}

// Done says that the command came to its own end, well or not. A compile that
// failed leaves good objects: each was made from the sources on record, and
// what depends on them is older, which Go sees. Only a command that was killed
// may leave halves: without Done they are in no inventory. When Done returns,
// what the command left is on the disk.
func (s *State) Done() error {
	err := s.settle()
	if err == nil {
		now := time.Now()
		err = os.Chtimes(s.record(), now, now)
	}
	if err != nil {
		return fmt.Errorf("kept state: %w", err)
	}
	return nil
}

// Forget says that the next run must not use what is kept, though the command came
// to its own end. What it left is still there.
func (s *State) Forget() error {
	for _, name := range []string{recordFile, inventoryFile} {
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("kept state: %w", err)
		}
	}
	return nil
}

// settle writes what is kept to the disk, and then the inventory.
func (s *State) settle() error {
	found, err := filesOf(s.dir)
	if err != nil {
		return err
	}
	if was, known := readInventory(s.dir); known && was.describes(found) {
		s.held = was
		return nil
	}
	// The disk is busy with one, the processors with the other.
	synced := make(chan error, 1)
	go func() { synced <- files.SyncFileSystem(s.dir) }()
	s.held = takeInventory(s.dir, found, s.held)
	if err := <-synced; err != nil {
		return err
	}
	return writeInventory(s.dir, s.held)
}

// removeSpoilt removes what is not as the last command that came to its end had
// left it.
func (s *State) removeSpoilt() error {
	v, err := s.held.compare(s.dir)
	if err != nil {
		return err
	}
	s.spoilt = v.spoilt
	return s.held.remove(s.dir, append(v.spoilt, v.unknown...))
}

// Spoilt lists the kept files that Prepare removed because they did not hold
// what the last command left in them.
func (s *State) Spoilt() []string { return s.spoilt }

// removeStale removes what no longer follows from the sources.
func (s *State) removeStale(change sources.Change) error {
	if !change.Any {
		return nil
	}
	return s.remove(s.recipe.Persistent, func(container, rel string, _ fs.FileInfo) bool {
		return !change.Keeps(s.recipe.Workdir, container, rel)
	})
}

// remove removes kept files, and all of the staging directories, whose files
// are told apart by size and time only.
func (s *State) remove(dirs []string, stale func(container, rel string, info fs.FileInfo) bool) error {
	if err := s.held.removeOut(s.dir); err != nil {
		return err
	}
	for _, container := range dirs {
		root := s.kept(container)
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && p == root {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			if !stale(container, filepath.ToSlash(rel), info) {
				return nil
			}
			delete(s.held, filepath.Join("kept", escape(container), rel))
			return os.Remove(p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
