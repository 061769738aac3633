// Package filestest writes and reads files for tests.
package filestest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Write writes a file, and makes the directories above it.
func Write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Read reads all below a directory, and which inode each file is.
func Read(t testing.TB, dir string) (text map[string]string, inode map[string]uint64) {
	t.Helper()
	text, inode = map[string]string{}, map[string]uint64{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text[rel], inode[rel] = string(data), info.Sys().(*syscall.Stat_t).Ino
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text, inode
}
