// Package files writes, copies and locks files, one way each for everybody: a
// file appears whole or not at all, and belongs to whom the caller says. It
// knows nothing of what is in them.
package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Unfinished begins the names of files and directories that are being written
// beside their places.
const Unfinished = ".kbuild-"

// WriteWhole writes a file beside its place and renames it there, so that
// nobody sees half of it. It is on the disk before it has its name: a file that
// is not would be empty after a power cut.
func WriteWhole(file string, mode os.FileMode, owner Owner, write func(io.Writer) error) error {
	return writeBeside(file, mode, owner, write, (*os.File).Sync)
}

// WriteCache is WriteWhole for a large file that is made again where its size is
// not the one on record: it does not wait for the disk.
func WriteCache(file string, mode os.FileMode, owner Owner, write func(io.Writer) error) error {
	return writeBeside(file, mode, owner, write, func(*os.File) error { return nil })
}

func writeBeside(
	file string, mode os.FileMode, owner Owner, write func(io.Writer) error, sync func(*os.File) error,
) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), Unfinished+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Chown(owner.UID, owner.GID), f.Chmod(mode), sync(f)); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

func WriteJSON(file string, v any) error {
	return WriteWhole(file, 0o600, Self(), func(w io.Writer) error { return json.NewEncoder(w).Encode(v) })
}

func ReadJSON(file string, v any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}
