package mirror

import (
	"fmt"
	"io"
	"os"

	"github.com/containers/image/v5/pkg/compression"
	"golang.org/x/sys/unix"
)

// SpaceError reports that there is no room for an image, or for a part of it.
type SpaceError struct {
	own
	Dir string
	// Need and Free are in bytes. Need is 0 where it is not known.
	Need, Free int64
	// Inodes says that there are blocks left, but no inodes.
	Inodes bool

	cause error
}

func (e *SpaceError) Error() string {
	switch {
	case e.Inodes:
		return fmt.Sprintf("no inodes left in %s", e.Dir)
	case e.Need == 0:
		return fmt.Sprintf("no space left in %s: %s are free", e.Dir, megabytes(e.Free))
	}
	return fmt.Sprintf("no space left in %s: the image needs %s, %s are free",
		e.Dir, megabytes(e.Need+999_999), megabytes(e.Free))
}

// Unwrap returns the system's error, if there was one.
func (e *SpaceError) Unwrap() error { return e.cause }

func megabytes(n int64) string { return fmt.Sprintf("%d MB", n/1_000_000) }

// fewestInodes is how many inodes an image needs at least: a kube-cross has tens
// of thousands of files, but how many is known only when it is unpacked.
const fewestInodes = 1000

// enoughBlocks, in bytes, are more than a full file system has after an unpacking
// that failed was undone in part.
const enoughBlocks = 256 << 20

// checkSpace returns a [*SpaceError] where so many bytes do not fit.
func checkSpace(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("space in %s: %w", dir, err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return &SpaceError{Dir: dir, Need: need, Free: free}
	}
	// Some file systems, such as btrfs, have no fixed number of them.
	if st.Files > 0 && st.Ffree < fewestInodes {
		return &SpaceError{Dir: dir, Inodes: true}
	}
	return nil
}

// freeSpace returns how many bytes are free for this user.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("space in %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// full makes of an error that says a disk is full one that says which, and what
// is free there. Any other error is returned as it is.
func full(err error, need int64, dirs ...string) error {
	if err == nil || !isFull(err) {
		return err
	}
	e := &SpaceError{Need: need, cause: err}
	for _, dir := range dirs {
		var st unix.Statfs_t
		if dir == "" || unix.Statfs(dir, &st) != nil {
			continue
		}
		free := int64(st.Bavail) * st.Bsize
		// Some are back when what was half unpacked is gone, and blocks are no matter then.
		inodes := st.Files > 0 && (st.Ffree == 0 || st.Ffree < fewestInodes && free > max(need, enoughBlocks))
		if e.Dir == "" || free < e.Free || inodes {
			e.Dir, e.Free, e.Inodes = dir, free, inodes
		}
	}
	if e.Dir == "" || e.Free >= need {
		// What was written is gone again, or it is a quota.
		e.Need = 0
	}
	return e
}

// roomyWriter writes as long as there is room and some to spare, so that others
// on the same file system are not stopped by it.
type roomyWriter struct {
	io.Writer
	dir  string
	left int64 // to write before the next look
}

// roomLeft returns how many bytes may be written before somebody has to look
// again. A small part of the file system is left free.
func roomLeft(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("space in %s: %w", dir, err)
	}
	free := int64(st.Bavail) * st.Bsize
	left := free - min(64<<20, int64(st.Blocks)*st.Bsize/64)
	if left <= 0 {
		return 0, &SpaceError{Dir: dir, Free: free}
	}
	return left, nil
}

func (w *roomyWriter) Write(p []byte) (int, error) {
	if w.left -= int64(len(p)); w.left < 0 {
		left, err := roomLeft(w.dir)
		if err != nil {
			return 0, err
		}
		w.left = left / 2
	}
	n, err := w.Writer.Write(p)
	return n, full(err, 0, w.dir)
}

// roomyReader ends with an error when what is made of its bytes fills a file
// system.
type roomyReader struct {
	io.Reader
	dir  string
	left int64
}

func (r *roomyReader) Read(p []byte) (int, error) {
	if r.left -= int64(len(p)); r.left < 0 {
		left, err := roomLeft(r.dir)
		if err != nil {
			return 0, err
		}
		// The bytes are compressed.
		r.left = min(left/16, 4<<20)
	}
	return r.Reader.Read(p)
}

// roomForCompressed checks that a compressed archive fits into a directory once
// it is unpacked; it is not smaller then. What is not compressed is read where
// it is.
func roomForCompressed(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, decompress, _, err := compression.DetectCompressionFormat(f)
	if err != nil || decompress == nil {
		return nil // the library says what is wrong with it
	}
	return checkSpace(dir, info.Size())
}
