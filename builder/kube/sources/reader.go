package sources

import (
	"errors"
	"hash"
	"io/fs"
	"path"
	"syscall"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// A sourceReader is what one worker has for itself.
type sourceReader struct {
	root   *files.Root
	dirs   openDirs
	look   *look
	filter Filter
	hash   hash.Hash
	buffer []byte
	found  Manifest
	seen   []seenFile
	read   int // files
}

// dir reads a directory: its own entry, its files and links, and as jobs what
// is left to do.
func (r *sourceReader) dir(name string, stop func() bool) ([]job, error) {
	dir, err := r.dirs.enter(name)
	if err != nil {
		return nil, vanished(name, err)
	}
	entries, err := dir.file.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	r.found = append(r.found, Entry{Path: name, Kind: Dir})
	var jobs []job
	for _, e := range entries {
		if stop() {
			return nil, nil
		}
		p := name + "/" + e.Name()
		if !r.filter.Includes(p, e.IsDir()) {
			continue
		}
		kind, err := kindOf(p, e.Type())
		switch {
		case err != nil:
		case kind == Dir:
			jobs = append(jobs, job{p, Dir})
		case kind == Link:
			err = r.link(dir.fd, p)
		case kind == File:
			err = r.file(dir.fd, p)
		}
		if err != nil {
			return nil, err
		}
	}
	return jobs, nil
}

// single reads a listed path that is not a directory.
func (r *sourceReader) single(j job) error {
	dir, err := r.dirs.enter(path.Dir(j.path))
	if err != nil {
		return vanished(j.path, err)
	}
	if j.kind == Link {
		return r.link(dir.fd, j.path)
	}
	return r.file(dir.fd, j.path)
}

func (r *sourceReader) link(dir int, name string) error {
	target, err := readlink(dir, name)
	if err != nil {
		return vanished(name, err)
	}
	r.found = append(r.found, Entry{Path: name, Kind: Link, Target: target})
	return nil
}

func (r *sourceReader) file(dir int, name string) error {
	// Mostly nothing changed: opening it, too, would take three times as long.
	if st, err := lstat(dir, name); err == nil {
		if sum, ok := r.look.known(name, st); ok {
			r.found = append(r.found, Entry{Path: name, Kind: File, Exec: st.exec(), Size: st.size, Sum: sum})
			r.seen = append(r.seen, seenFile{name, st, sum})
			return nil
		}
	}
	fd, st, err := openFile(dir, name)
	if err != nil {
		return vanished(name, err)
	}
	defer unix.Close(fd)
	e := Entry{Path: name, Kind: File, Exec: st.exec()}
	r.read++
	if r.buffer == nil { // mostly nothing is read
		r.buffer = make([]byte, 256<<10)
	}
	r.hash.Reset()
	cleaned := r.look.local && clean(fd) == nil
	for {
		n, err := read(fd, r.buffer)
		if err != nil {
			return &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			break
		}
		r.hash.Write(r.buffer[:n])
		e.Size += int64(n)
	}
	r.hash.Sum(e.Sum[:0])
	r.found = append(r.found, e)
	if after, err := fstat(fd); err == nil && after == st && st.size == e.Size && cleaned && r.look.settles(st) {
		r.seen = append(r.seen, seenFile{name, st, e.Sum})
	}
	return nil
}

// vanished returns the error for something that was there, and of another kind,
// when its directory was read.
func vanished(name string, err error) error {
	for _, gone := range []error{
		fs.ErrNotExist, syscall.ENOTDIR, syscall.ELOOP, syscall.EINVAL, files.ErrLink, errChanged,
	} {
		if errors.Is(err, gone) {
			return &ChangedError{Path: name}
		}
	}
	return err
}
