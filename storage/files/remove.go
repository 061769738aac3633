package files

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Remove removes an entry that is no directory.
func (d *Dir) Remove(name string) error {
	if err := d.element("remove", name); err != nil {
		return err
	}
	return d.failed("remove", name, unix.Unlinkat(d.fd(), name, 0))
}

// RemoveAll removes an entry and all that is below it; a link is removed and
// what is behind it stays. What is a mount stays, empty, and so do the
// directories above it. There need not be such an entry.
func (d *Dir) RemoveAll(name string) error {
	_, err := d.removeAll(name)
	return err
}

// removeAll is RemoveAll, and tells whether a mount stays.
func (d *Dir) removeAll(name string) (stays bool, err error) {
	if err := d.element("remove", name); err != nil {
		return false, err
	}
	err = unix.Unlinkat(d.fd(), name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	st, e := d.Stat(name)
	switch {
	case errors.Is(e, fs.ErrNotExist):
		return false, nil // another removes it, too
	case e == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
	case errors.Is(err, unix.EBUSY):
		return true, nil // a file may be a mount, too
	default:
		return false, d.failed("remove", name, err)
	}
	if stays, err = d.empty(name); stays || err != nil {
		return stays, err
	}
	err = unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.EBUSY) {
		return true, nil
	}
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return false, d.failed("remove", name, err)
}

// empty removes what is in a directory, and tells whether a mount stays.
func (d *Dir) empty(name string) (stays bool, err error) {
	sub, err := d.Dir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer sub.Close()
	entries, err := sub.Entries()
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		stayed, err := sub.removeAll(e.Name)
		if err != nil {
			return false, err
		}
		stays = stays || stayed
	}
	return stays, nil
}
