package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kbuild/kbuild/storage"
	"github.com/opencontainers/go-digest"
)

const (
	// keptDir has the blobs of an unfinished download, in the store's root, each
	// under the hexadecimal digits of its digest.
	keptDir = "kbuild-blobs"
	// keptLongest is how long they stay there for a run that continues.
	keptLongest = 7 * 24 * time.Hour
)

// kept are the blobs, whole or partial, of a download that did not finish, for
// the next one to continue with. Nothing in there is trusted: the reader verifies
// the digest as if the bytes came from the network. Only the process that may
// pull into the store uses it.
type kept struct {
	dir  string
	mu   sync.Mutex
	busy map[digest.Digest]chan struct{} // closed when it no longer is
	used map[digest.Digest]bool
	lost map[digest.Digest]error // why it is not kept to its end
}

func newKept(root string) *kept {
	return &kept{
		dir:  filepath.Join(root, keptDir),
		busy: map[digest.Digest]chan struct{}{}, used: map[digest.Digest]bool{}, lost: map[digest.Digest]error{},
	}
}

// prune removes what is too old.
func (k *kept) prune(now time.Time) {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > keptLongest {
			os.RemoveAll(filepath.Join(k.dir, e.Name())) //nolint:errcheck // tried again the next time
		}
	}
	os.Remove(k.dir) //nolint:errcheck // unless it is empty
}

// CheckPartial lists what lies among a store's unfinished downloads and cannot be
// a part of one: each is named by its digest, and never trusted. The caller has the
// right to pull into the store.
func CheckPartial(store *storage.Store) (wrong []string, err error) {
	dir := newKept(store.Root()).dir
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("check unfinished downloads: %w", err)
	}
	for _, e := range entries {
		if digest.NewDigestFromEncoded(digest.SHA256, e.Name()).Validate() != nil || !e.Type().IsRegular() {
			wrong = append(wrong, filepath.Join(dir, e.Name()))
		}
	}
	return wrong, nil
}

// open returns the file for a blob and how many bytes it has. It returns nil when
// nothing can be kept of it, which does not keep it from being downloaded. A blob
// that the image has twice is waited for.
func (k *kept) open(ctx context.Context, d digest.Digest, size int64) (*os.File, int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.busy[d] != nil {
		other := k.busy[d]
		k.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
		}
		k.mu.Lock()
		if ctx.Err() != nil {
			return nil, 0
		}
	}
	if k.dir == "" {
		return nil, 0 // nothing is kept
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, 0
	}
	path := k.path(d)
	if info, err := os.Lstat(path); err == nil && (!info.Mode().IsRegular() || info.Size() > size) {
		if err := os.RemoveAll(path); err != nil {
			return nil, 0
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0
	}
	info, err := file.Stat()
	if err != nil {
		file.Close() //nolint:errcheck // nothing was written
		return nil, 0
	}
	k.busy[d], k.used[d] = make(chan struct{}), true
	delete(k.lost, d)
	return file, info.Size()
}

// size returns how many bytes of a blob are kept.
func (k *kept) size(d digest.Digest) int64 {
	if d.Validate() != nil {
		return 0
	}
	info, err := os.Lstat(k.path(d))
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// holds reports whether a blob is being kept as it is read.
func (k *kept) holds(d digest.Digest) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.busy[d] != nil
}

// whole is nil if the blob of that many bytes that was just read was kept.
func (k *kept) whole(d digest.Digest, size int64) error {
	info, err := os.Stat(k.path(d))
	if err == nil && info.Size() != size {
		err = fmt.Errorf("%d bytes of %d", info.Size(), size)
	}
	if err != nil {
		return fmt.Errorf("keep blob %s: %w", d, err)
	}
	return nil
}

// keeping is what a blob is copied to that is kept as it is read: it accepts all,
// until the blob is no longer kept.
type keeping struct {
	*kept
	digest digest.Digest
}

func (k *keeping) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.lost[k.digest]; err != nil {
		return 0, fmt.Errorf("keep blob %s: %w", k.digest, err)
	}
	return len(p), nil
}

// read opens a blob that is whole.
func (k *kept) read(d digest.Digest) (*os.File, error) { return os.Open(k.path(d)) }

func (k *kept) path(d digest.Digest) string { return filepath.Join(k.dir, d.Encoded()) }

func (k *kept) close(d digest.Digest, file *os.File) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy[d] != nil {
		close(k.busy[d])
	}
	delete(k.busy, d)
	return file.Close()
}

// use notes that a blob belongs to the image that is being copied.
func (k *kept) use(d digest.Digest) {
	if d.Validate() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.used[d] = true
}

// forget removes one blob, for a reason.
func (k *kept) forget(d digest.Digest, file *os.File, why error) {
	k.mu.Lock()
	k.lost[d] = why
	k.mu.Unlock()
	k.close(d, file)       //nolint:errcheck // it is removed
	os.Remove(file.Name()) //nolint:errcheck // the next reader verifies it
}

// clear removes the blobs of the images copied since the last time: the store has
// what was in them, or they were not what they should be.
func (k *kept) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for d := range k.used {
		os.Remove(k.path(d)) //nolint:errcheck // pruned later
	}
	clear(k.used)
	os.Remove(k.dir) //nolint:errcheck // unless it is empty
}
