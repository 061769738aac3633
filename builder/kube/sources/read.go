package sources

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxScript is the most of a tree's script or Dockerfile that is read, in
// bytes. The largest of release-1.2 has 57 thousand.
const maxScript = 4 << 20

// ReadFile reads a small file of the tree at root.
func ReadFile(root, name string) ([]byte, error) {
	return ReadFileAnywhere(filepath.Join(root, filepath.FromSlash(name)))
}

// ReadFileAnywhere reads a file that somebody else wrote, by its path. It must be a regular
// file, so that a pipe in its place does not stop everything.
func ReadFileAnywhere(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxScript+1))
	if err == nil && len(data) > maxScript {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d bytes", maxScript)}
	}
	return data, err
}

// Exists reports whether there is a file or directory of that name in the tree
// at root.
func Exists(root, name string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil
}

// IsMissing reports whether the error says that a file is not there. A path
// below a file gives ENOTDIR.
func IsMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
