package files

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// A Stamp is what stat(2) says of a file that is another when the file is, or
// was written to: whatever writes to a file sets its ctime, which no program can
// set to what it was.
type Stamp struct {
	Inode      uint64
	Size       int64 // in bytes
	Mtim, Ctim unix.Timespec
}

// StampOf is a file's stamp. A link is not followed.
func StampOf(file string) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Lstat(file, &st); err != nil {
		return Stamp{}, &fs.PathError{Op: "stat", Path: file, Err: err}
	}
	return Stamp{st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}
