package objects

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// ImportOptions say what will be compiled, so that no more is read than that can use.
type ImportOptions struct {
	Targets []string
	Sources sources.Manifest
	Version kube.Version
}

// Imported is what [State.Import] took over.
type Imported struct {
	Objects int
	// Damaged lists objects that were left out because they are not what the table
	// says.
	Damaged []string
}

// Import fills a state in which nothing is kept yet, see [State.Empty], from a table and
// its packs, which open opens one after the other, the smallest first.
//
// It is called before [State.Prepare], which judges what it brought as what is kept of
// another tree. With an error, too, the state can be used: it has then what passed all
// checks before.
func (s *State) Import(
	ctx context.Context, t *travel.Table, open travel.Opener, o ImportOptions,
) (done Imported, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("unpack kept state: %w", err)
		}
	}()
	if !bytes.Equal(t.Key, s.CacheKey()) {
		return Imported{}, &KeyError{}
	}
	want, err := s.wanted(t, o)
	if err != nil || !slices.Contains(want, true) {
		return Imported{}, err
	}
	next, err := os.MkdirTemp(filepath.Dir(s.dir), importing+"*")
	if err != nil {
		return Imported{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(next)) }()
	u := newUnpacker(t, want, next)
	if err := u.room(); err != nil {
		return Imported{}, err
	}
	failed := u.read(ctx, open)
	done.Damaged = u.damaged
	if err := s.begin(u, o); err != nil {
		return done, errors.Join(failed, err)
	}
	done.Objects = len(u.whole)
	return done, failed
}

// importing begins the name of the directory in which an import collects what passed
// its checks. What a killed one left there is removed with old states.
const importing = ".import-"

// wanted tells which of a table's objects the state has use for.
func (s *State) wanted(t *travel.Table, o ImportOptions) ([]bool, error) {
	record, err := encodeRecord(o.Sources, o.Version)
	if err != nil {
		return nil, err
	}
	sum, same := sha256.Sum256(record), false
	for i := range t.Objects {
		if t.Objects[i].Path == travel.Record {
			same = t.Objects[i].Sum == sum
		}
	}
	uses := usesOf(t, o.Targets)
	want := make([]bool, len(t.Objects))
	for i := range t.Objects {
		name := t.Objects[i].Path
		switch {
		case isCache(name):
			want[i] = uses(i)
		case s.isAsBuilt(name):
			want[i] = same && uses(i)
		default:
			want[i] = true
		}
	}
	return want, nil
}

// usesOf tells what targets used the last time, together or, if that is not known, each
// by itself. Where that is not known either it is everything.
func usesOf(t *travel.Table, targets []string) func(object int) bool {
	if set, ok := t.Target(targetName(targets)); ok {
		return set.Has
	}
	var singles []*travel.Target
	for _, name := range targets {
		single, ok := t.Target(name)
		if !ok {
			return func(int) bool { return true }
		}
		singles = append(singles, single)
	}
	return func(object int) bool {
		return len(singles) == 0 || slices.ContainsFunc(singles, func(s *travel.Target) bool { return s.Has(object) })
	}
}

// begin makes what was unpacked the beginning of a state that had nothing. The
// directories come first and the record last; until a command in it has come to its
// end it is not taken for a state by any other run, as after adopt.
func (s *State) begin(u *unpacker, o ImportOptions) error {
	recorded := false
	if data, err := os.ReadFile(filepath.Join(u.dir, travel.Record)); err == nil {
		_, err := decodeRecord(data)
		recorded = err == nil
	}
	if !recorded {
		// Nobody knows what the objects follow from; an entry of Go's build cache is
		// right by itself.
		if err := u.drop(func(name string) bool { return !isCache(name) }); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(u.whole, func(name string) bool { return name != travel.Record }) {
		u.whole = nil
		return nil
	}
	if err := u.setTimes(); err != nil {
		return err
	}
	if err := moveHeld(u.dir, s.dir); err != nil {
		return err
	}
	delete(u.held, travel.Record)
	s.held = u.held
	if !recorded {
		return s.writeRecord(o.Sources, o.Version)
	}
	return nil
}

// room reports an error where the file system has too little room for what is to be
// unpacked: what a compile needs besides is not known.
func (u *unpacker) room() error {
	var st unix.Statfs_t
	if err := unix.Statfs(u.dir, &st); err != nil {
		return err
	}
	need := int64(0)
	for i, want := range u.want {
		if want {
			need += u.table.Objects[i].Size
		}
	}
	if have := int64(st.Bavail) * st.Bsize; need > have {
		return fmt.Errorf("%d MB in %s, %d MB are free: %w", need>>20, filepath.Dir(u.dir), have>>20, unix.ENOSPC)
	}
	return nil
}

// setTimes gives what was unpacked its times: entries of Go's build cache look unused,
// and of all else only the order counts. The newest was written a second ago,
// whatever the clock of the writer said.
func (u *unpacker) setTimes() error {
	now, newest := time.Now(), int64(0)
	for i := range u.table.Objects {
		newest = max(newest, u.table.Objects[i].Time)
	}
	shift := now.Add(-time.Second).UnixNano() - newest
	for i := range u.table.Objects {
		o := &u.table.Objects[i]
		held, ok := u.held[o.Path]
		if !ok {
			continue
		}
		at := time.Unix(0, o.Time+shift)
		switch {
		case o.Path == travel.Record:
			at = now.Add(-time.Second)
		case isCache(o.Path):
			at = now.Add(unused)
		}
		file := filepath.Join(u.dir, o.Path)
		if o.Path == "out/"+generatedFile {
			var err error
			if held.sum, err = shiftTimes(file, time.Duration(shift)); err != nil {
				return err
			}
		}
		if err := os.Chtimes(file, at, at); err != nil {
			return err
		}
		var err error
		if held.Stamp, err = files.StampOf(file); err != nil {
			return err
		}
		u.held[o.Path] = held
	}
	return nil
}
