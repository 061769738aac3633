package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// The library puts a layer on record as soon as it is unpacked, and writes the
// record, but not the layer, to the disk. Where the power fails before the
// kernel has written the layer, too, its files are empty, while the record says
// that it is whole: on ext4 for half a minute (data=ordered with delayed
// allocation, see ext4(5) on auto_da_alloc).
//
// So a note is on the disk before a run puts its first layer into the store, and
// goes when [Store.Sync] has written them. A note whose process has ended says
// that layers may be less than the record says, and [Store.DiscardUnsynced]
// compares each with its digest.

const (
	// unsyncedDir holds the notes, in the store's root.
	unsyncedDir = "kbuild-unsynced"
	// unwritten begins the name of a note that is being written.
	unwritten = "."
)

// BeginLayers has to be called before layers are put into the store, with
// [Store.Sync] to follow before one of them gets a name that anybody relies on.
// Calling it again before that does nothing.
func (s *Store) BeginLayers() error {
	if s.unsynced != nil {
		return nil
	}
	s.store.keepReserve()
	note, err := s.writeNote()
	if err != nil {
		return fmt.Errorf("note that layers come to the store %s: %w", s.Root(), err)
	}
	s.unsynced = note
	return nil
}

// writeNote writes the ids of the layers that the store has. The file is locked
// for as long as the process lives.
func (s *Store) writeNote() (_ *os.File, err error) {
	layers, err := s.store.Layers()
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(layers))
	for i := range layers {
		ids[i] = layers[i].ID
	}
	data, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.Root(), unsyncedDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	note, err := os.CreateTemp(dir, unwritten+"*")
	if err != nil {
		return nil, err
	}
	final := filepath.Join(dir, strings.TrimPrefix(filepath.Base(note.Name()), unwritten))
	defer func() {
		if err != nil {
			note.Close()
			os.Remove(note.Name())
			os.Remove(final)
		}
	}()
	if err := files.Flock(note, unix.LOCK_EX); err != nil {
		return nil, err
	}
	if _, err := note.Write(data); err != nil {
		return nil, err
	}
	if err := note.Sync(); err != nil {
		return nil, err
	}
	if err := os.Rename(note.Name(), final); err != nil {
		return nil, err
	}
	return note, files.SyncDir(dir)
}

// Sync returns when all that was put into the store is on its disk.
func (s *Store) Sync() error {
	if err := files.SyncFileSystem(s.Root()); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if s.unsynced == nil {
		return nil
	}
	note := s.unsynced
	s.unsynced = nil
	name := filepath.Join(s.Root(), unsyncedDir, strings.TrimPrefix(filepath.Base(note.Name()), unwritten))
	if err := errors.Join(os.Remove(name), note.Close()); err != nil {
		return fmt.Errorf("note that the store %s is on its disk: %w", s.Root(), err)
	}
	return nil
}

// DiscardUnsynced looks for layers that a run which was killed, or ended by a
// power cut, put into the store, and removes those that are not whole, with all
// that lies on them. It returns what was removed, for the user to know.
func (s *Store) DiscardUnsynced(ctx context.Context) (discarded []Discarded, err error) {
	notes, err := s.leftNotes()
	if err != nil {
		return nil, fmt.Errorf("look for what an earlier run left in the store %s: %w", s.Root(), err)
	}
	if len(notes) == 0 {
		return nil, nil
	}
	defer func() {
		for _, n := range notes {
			err = errors.Join(err, n.file.Close())
		}
	}()
	layers, err := s.store.Layers()
	if err != nil {
		return nil, fmt.Errorf("list layers: %w", err)
	}
	var doubtful []string
	for _, l := range layers {
		if slices.ContainsFunc(notes, func(n leftNote) bool { return !n.before[l.ID] }) {
			doubtful = append(doubtful, l.ID)
		}
	}
	if discarded, err = s.discardDamaged(ctx, doubtful); err != nil {
		return nil, err
	}
	if err := s.Sync(); err != nil {
		return nil, err
	}
	for _, n := range notes {
		if err := os.Remove(n.file.Name()); err != nil {
			return nil, fmt.Errorf("remove the note of an earlier run: %w", err)
		}
	}
	return discarded, nil
}

// HasUnsynced reports whether there is something for [Store.DiscardUnsynced] to look
// at.
func (s *Store) HasUnsynced() (bool, error) {
	notes, err := s.leftNotes()
	for _, n := range notes {
		err = errors.Join(err, n.file.Close())
	}
	return len(notes) > 0, err
}

// A leftNote is a note of a process that has ended, locked.
type leftNote struct {
	file   *os.File
	before map[string]bool // ids of the layers there were
}

// leftNotes takes over the notes whose processes have ended.
func (s *Store) leftNotes() (notes []leftNote, err error) {
	dir := filepath.Join(s.Root(), unsyncedDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if s.unsynced != nil && strings.TrimPrefix(filepath.Base(s.unsynced.Name()), unwritten) == e.Name() {
			continue
		}
		file, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // its process has just removed it
		}
		if files.Flock(file, unix.LOCK_EX|unix.LOCK_NB) != nil {
			file.Close()
			continue
		}
		note := leftNote{file: file, before: map[string]bool{}}
		if strings.HasPrefix(e.Name(), unwritten) {
			// Nothing was put into the store yet. Its process may not have locked
			// it yet, in the moment after it was made.
			file.Close()
			continue
		}
		var ids []string
		// Of one that cannot be read every layer is in doubt.
		json.NewDecoder(file).Decode(&ids) //nolint:errcheck // see above
		for _, id := range ids {
			note.before[id] = true
		}
		notes = append(notes, note)
	}
	return notes, err
}
