package sources

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kbuild/kbuild/storage/files"
)

// A Set says which files of a tree are its sources.
type Set struct {
	// Root is the path of the tree's root.
	Root string
	// List names the sources, each with everything below it. If it is nil,
	// Filter says what they are.
	List []string
	// Filter is for a tree without a list.
	Filter Filter
	// From is the script that List was read from, for errors.
	From string
}

// Read reads the sources and describes them: what List names and everything
// below it, as tar would take it, or what Filter includes, as rsync would.
// Symbolic links are
// entries of their own and never followed; sockets are passed over, as tar
// does; any other special file is an error, and so is a listed path that is
// not there or lies behind a link, and whatever cannot be read.
func (s Set) Read(ctx context.Context) (Manifest, error) {
	m, _, err := s.ReadSince(ctx, Fingerprint{})
	return m, err
}

// ReadSince is [Set.Read] for a caller who kept the fingerprint of an
// earlier look at this tree: only files that were touched since are read. It
// returns the fingerprint to keep for the next.
func (s Set) ReadSince(ctx context.Context, before Fingerprint) (Manifest, Fingerprint, error) {
	m, after, err := s.read(ctx, before, time.Now())
	if err != nil {
		return nil, Fingerprint{}, fmt.Errorf("read the sources of %s: %w", s.Root, Readable(s.Root, err))
	}
	return m, after, nil
}

func (s Set) read(ctx context.Context, before Fingerprint, now time.Time) (Manifest, Fingerprint, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, Fingerprint{}, err
	}
	root, err := files.OpenRoot(s.Root)
	if err != nil {
		return nil, Fingerprint{}, err
	}
	defer root.Close()
	w := &sourceWalk{root: root, look: newLook(root.Fd(), before, now)}
	w.wake = sync.NewCond(&w.mu)
	list := s.List
	if list == nil {
		w.filter = s.Filter
		if list, err = w.rootEntries(); err != nil {
			return nil, Fingerprint{}, err
		}
	}
	if err := w.seed(list, s.From); err != nil {
		return nil, Fingerprint{}, err
	}
	stop := context.AfterFunc(ctx, func() { w.fail(context.Cause(ctx)) })
	defer stop()
	readers := make([]sourceReader, runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for i := range readers {
		workers.Add(1)
		go func() {
			defer workers.Done()
			readers[i] = w.work()
		}()
	}
	workers.Wait()
	if w.err != nil {
		return nil, Fingerprint{}, w.err
	}
	found, seen := 0, 0
	for _, r := range readers {
		found, seen = found+len(r.found), seen+len(r.seen)
	}
	m := make(Manifest, 0, found)
	after := Fingerprint{began: w.look.began, boot: w.look.boot, dev: w.look.dev, files: make([]seenFile, 0, seen)}
	for _, r := range readers {
		m = append(m, r.found...)
		after.files = append(after.files, r.seen...)
		after.Read += r.read
	}
	slices.SortFunc(m, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(after.files, func(a, b seenFile) int { return strings.Compare(a.path, b.path) })
	return m, after, nil
}

// A sourceWalk is the state that the workers of one walk share.
type sourceWalk struct {
	root   *files.Root
	look   look
	filter Filter

	mu   sync.Mutex
	wake *sync.Cond
	todo []job
	busy int   // workers that may still add to todo
	err  error // the first
}

// A job is a directory to read or a single file to hash.
type job struct {
	path string
	kind Kind
}

// rootEntries returns the names in the root that the filter includes.
func (w *sourceWalk) rootEntries() ([]string, error) {
	entries, err := w.root.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if w.filter.Includes(e.Name(), e.IsDir()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// seed puts what is listed on the stack: each path once, and none below
// another.
func (w *sourceWalk) seed(list []string, from string) error {
	listed := make([]string, len(list))
	for i, p := range list {
		if listed[i] = path.Clean(p); !ValidPath(listed[i]) {
			return fmt.Errorf("%s lists %s, which is not below the tree", from, p)
		}
	}
	slices.Sort(listed)
	listed = slices.Compact(listed)
	for _, p := range listed {
		if slices.ContainsFunc(Parents(p), func(parent string) bool { return slices.Contains(listed, parent) }) {
			continue
		}
		// Opening the parent finds a link on the way.
		dir, err := w.root.OpenDir(path.Dir(p))
		if err == nil {
			var st stamp
			if st, err = lstat(int(dir.Fd()), p); err == nil {
				var kind Kind
				if kind, err = kindOf(p, st.fileMode()); kind != 0 {
					w.todo = append(w.todo, job{p, kind})
				}
			}
			dir.Close()
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return &MissingError{From: from, Path: p}
		}
		if errors.Is(err, files.ErrLink) {
			return &LinkError{Path: p, Err: err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Parents returns the directories above a clean relative path.
func Parents(p string) []string {
	var above []string
	for p = path.Dir(p); p != "."; p = path.Dir(p) {
		above = append(above, p)
	}
	return above
}

// kindOf returns what becomes of a file of that mode; 0 if it is passed over.
func kindOf(name string, mode fs.FileMode) (Kind, error) {
	var special string
	switch mode.Type() {
	case 0:
		return File, nil
	case fs.ModeDir:
		return Dir, nil
	case fs.ModeSymlink:
		return Link, nil
	case fs.ModeSocket:
		return 0, nil
	case fs.ModeNamedPipe:
		special = "a named pipe"
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		special = "a device"
	default:
		special = "a special file"
	}
	return 0, &SpecialError{Path: name, Is: special}
}

// fail makes the walk end with an error, unless it has one.
func (w *sourceWalk) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.wake.Broadcast()
}

// next takes a job off the stack; it waits while there is none and other
// workers may add some. Taking the last one added keeps the stack small.
func (w *sourceWalk) next(finished bool) (job, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if finished {
		w.busy--
	}
	for len(w.todo) == 0 && w.busy > 0 && w.err == nil {
		w.wake.Wait()
	}
	if len(w.todo) == 0 || w.err != nil {
		w.wake.Broadcast()
		return job{}, false
	}
	j := w.todo[len(w.todo)-1]
	w.todo = w.todo[:len(w.todo)-1]
	w.busy++
	return j, true
}

func (w *sourceWalk) add(jobs []job) {
	if len(jobs) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.todo = append(w.todo, jobs...)
	w.wake.Broadcast()
}

// work does jobs until there are no more; what it found is in the reader.
func (w *sourceWalk) work() sourceReader {
	// The workers share the files evenly, more or less.
	known := len(w.look.before.files) / runtime.GOMAXPROCS(0) * 5 / 4
	r := sourceReader{
		root: w.root, dirs: openDirs{root: w.root}, look: &w.look, filter: w.filter,
		hash:  sha256.New(),
		found: make(Manifest, 0, known), seen: make([]seenFile, 0, known),
	}
	defer r.dirs.leave()
	for j, ok := w.next(false); ok; j, ok = w.next(true) {
		var jobs []job
		var err error
		switch j.kind {
		case Dir:
			jobs, err = r.dir(j.path, w.failed)
		default:
			err = r.single(j)
		}
		if err != nil {
			w.fail(err)
		}
		w.add(jobs)
	}
	return r
}

func (w *sourceWalk) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil
}
