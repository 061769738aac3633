package files

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// SyncFileSystem returns when everything on the file system that a directory is
// on has been written to its disk, see syncfs(2). For many files that is faster
// than fsync(2) of each, and it writes their names, too.
func SyncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = unix.Syncfs(int(f.Fd()))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s to its disk: %w", dir, err)
	}
	return nil
}

// SyncDir returns when the names in a directory have been written to its disk.
func SyncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("write %s to its disk: %w", name, err)
	}
	return nil
}
