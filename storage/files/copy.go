package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
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
	if err := MakeDirs(filepath.Dir(to), owner); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return Fill(out, in, owner)
}

// Fill copies the bytes of a regular file to a new one, and what may be kept of its
// mode.
func Fill(out, in *os.File, owner Owner) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "copy", Path: in.Name(), Err: ErrNotRegular}
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return errors.Join(out.Chown(owner.UID, owner.GID), out.Chmod(info.Mode().Perm()&0o755|0o600))
}

// MakeDirs is os.MkdirAll for a given owner. Links are followed in what is there
// when it begins, and not in what is missing: whoever owns a directory above could
// have root give anything to him by a link that he puts there meanwhile.
func MakeDirs(dir string, owner Owner) error {
	above, missing := dir, ""
	for {
		_, err := os.Stat(above)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || above == filepath.Dir(above) {
			return err
		}
		above, missing = filepath.Dir(above), path.Join(filepath.Base(above), missing)
	}
	if missing == "" {
		return nil
	}
	root, err := OpenRoot(above)
	if err != nil {
		return err
	}
	defer root.Close()
	made, err := root.MakeDirs(missing, owner)
	if err != nil {
		return err
	}
	return made.Close()
}
