package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Copy copies rather than links: what is published must not change when
// the container writes to its own file again.
func Copy(from, to string, owner Owner) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := MakeDirs(filepath.Dir(to), owner); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Chown(owner.UID, owner.GID); err != nil {
		return err
	}
	return out.Chmod(info.Mode().Perm()&0o755 | 0o600)
}

// MakeDirs is os.MkdirAll for a given owner.
func MakeDirs(dir string, owner Owner) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := MakeDirs(filepath.Dir(dir), owner); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return os.Chown(dir, owner.UID, owner.GID)
}
