// Package files writes, copies and locks files, one way each for everybody: a
// file appears whole or not at all, and belongs to whom the caller says. It
// knows nothing of what is in them.
package files

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Unfinished begins the names of files and directories that are being written
// beside their places.
const Unfinished = ".kbuild-"

// WriteWhole is [Dir.WriteWhole] for a file by its path.
func WriteWhole(file string, mode os.FileMode, owner Owner, write func(io.Writer) error) error {
	return inDir(file, func(d *Dir, name string) error { return d.WriteWhole(name, mode, owner, write) })
}

// WriteCache is [Dir.WriteCache] for a file by its path.
func WriteCache(file string, mode os.FileMode, owner Owner, write func(io.Writer) error) error {
	return inDir(file, func(d *Dir, name string) error { return d.WriteCache(name, mode, owner, write) })
}

func inDir(file string, do func(d *Dir, name string) error) error {
	d, err := OpenDir(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer d.Close()
	return do(d, filepath.Base(file))
}

// WriteJSON is [WriteWhole] of a value as JSON, with a newline, readable for the user
// alone.
func WriteJSON(file string, v any) error {
	return WriteWhole(file, 0o600, Self(), func(w io.Writer) error { return json.NewEncoder(w).Encode(v) })
}

// ReadJSON decodes a file of JSON. That there is none is an error that wraps
// fs.ErrNotExist.
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
