package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// On a full file system nothing can be removed from a store, since the library
// writes its records anew, beside the old ones, before it removes anything
// (AtomicFileWriter in pkg/ioutils), and moves what it removes to a temporary
// directory. So a store that kbuild puts layers into has some files to give up: as
// many as it takes to remove an image.

const (
	reserveDir      = "kbuild-reserve" // in the store's root
	reserveFiles    = 24
	reserveFileSize = 64 << 10 // bytes
)

// keepReserve makes the files, unless they are there. Where there is no space for
// them any more there is none for layers either, which is told where it matters.
func (g *guarded) keepReserve() {
	dir := filepath.Join(g.root, reserveDir)
	if os.Mkdir(dir, 0o700) != nil {
		return
	}
	data := make([]byte, reserveFileSize)
	for i := range reserveFiles {
		if os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), data, 0o600) != nil {
			return
		}
	}
}

// makeRoom gives up the reserve where the file system is full.
func (g *guarded) makeRoom() error {
	var st unix.Statfs_t
	if err := unix.Statfs(g.root, &st); err != nil {
		return nil //nolint:nilerr // there is no store yet
	}
	// Some file systems have no limit of files, and say 0 of 0.
	full := st.Bavail*uint64(st.Bsize) < reserveFiles*reserveFileSize || st.Files > 0 && st.Ffree < reserveFiles
	if !full {
		return nil
	}
	err := os.RemoveAll(filepath.Join(g.root, reserveDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make room in the store %s: %w", g.root, err)
	}
	g.spent.Store(true)
	return nil
}
