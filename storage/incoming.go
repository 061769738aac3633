package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
)

const (
	incomingLock = "kbuild-incoming.lock"
	incomingDir  = "kbuild-incoming-"
	// incomingOwner has the images that are on their way, see [Store.MakeFor].
	incomingOwner = "incoming"
)

// Incoming is the right to bring images into a store, which one process at a
// time has, and a directory for what is on its way.
type Incoming struct {
	// Dir is an empty directory of the owner's own, in TMPDIR if that is set
	// and else in the store, where there is room for an image or the image has
	// no room either.
	Dir string
	// Waited says that another process had the right before.
	Waited bool

	lock  *os.File
	store *guarded
	maker string // before
}

// OpenIncoming takes the right to bring images into the store. While another
// process has it, waiting is called once, and OpenIncoming waits until ctx ends.
// The right ends with the process, however it ends; what a killed one left in
// its directory, and images that it did not name, are removed here.
func (s *Store) OpenIncoming(ctx context.Context, waiting func()) (*Incoming, error) {
	path := filepath.Join(s.Root(), incomingLock)
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the store: %w", err)
	}
	in := &Incoming{lock: lock, store: s.store, maker: s.store.maker}
	err = files.Lock(ctx, lock, func() {
		in.Waited = true
		if waiting != nil {
			waiting()
		}
	})
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("lock the store %s: %w", s.Root(), err)
	}
	if err := in.prepare(s.Root()); err != nil {
		lock.Close()
		return nil, fmt.Errorf("make room for incoming images: %w", err)
	}
	if err := errors.Join(s.RemoveInterim(incomingOwner), s.BeginLayers()); err != nil {
		return nil, errors.Join(err, in.Close())
	}
	s.store.maker = incomingOwner
	return in, nil
}

// prepare makes the directory. The lock file holds its path, so that the next
// owner finds it should this process be killed.
func (in *Incoming) prepare(root string) error {
	left, err := os.ReadFile(in.lock.Name())
	if err != nil {
		return err
	}
	if dir := string(left); filepath.IsAbs(dir) && strings.HasPrefix(filepath.Base(dir), incomingDir) {
		os.RemoveAll(dir) //nolint:errcheck // rubbish that stays is no reason to bring nothing in
	}
	parent := os.Getenv("TMPDIR")
	if parent == "" {
		parent = root
	}
	if parent, err = filepath.Abs(parent); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, incomingDir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(in.lock.Name(), []byte(dir), 0o600); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	in.Dir = dir
	return nil
}

// Close removes the directory and gives the right back.
func (in *Incoming) Close() error {
	in.store.maker = in.maker
	err := os.RemoveAll(in.Dir)
	if err == nil {
		err = in.lock.Truncate(0)
	}
	if err := errors.Join(err, in.lock.Close()); err != nil {
		return fmt.Errorf("clear incoming images: %w", err)
	}
	return nil
}
