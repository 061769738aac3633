package sources

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Fingerprint is what one look at a tree's sources leaves for the next: of
// each file its inode, mode, size and times, and the SHA-256 of what it held.
// A file of which all those are as they were is not read again. The zero value
// knows nothing. Losing it costs time and nothing else.
//
// What it rests on: whatever changes a file sets its ctime to the time of the
// kernel's clock, which no program can set to anything else, so that a file
// with the inode and the ctime it had holds what it held. Clocks are coarse: a
// file that was changed just before it was looked at may be changed again, and
// keep its ctime. Such files are left out, as git's index does with those that
// are "racily clean" (gitformat-index(5), racy-git.txt), and so is all of a
// file system whose times are another computer's, or whole seconds, and all that
// was seen before the last boot: after a power cut a file may have its new times
// and its old content.
//
// A file that a program has mapped gets new times at the first write to a page,
// and not at the next, until the page was written to the disk. So what is read
// is first given to the disk: see [clean].
type Fingerprint struct {
	// Read is how many files the look that made this had to read.
	Read int

	began int64 // when the look began, in nanoseconds since 1970
	boot  string
	dev   uint64
	files []seenFile // in order of their paths
}

// Len returns the number of files that will not be read again if they stay as they
// are.
func (f Fingerprint) Len() int { return len(f.files) }

// A seenFile is a file and what it held.
type seenFile struct {
	path string
	stamp
	sum [sha256.Size]byte
}

// A stamp is what stat(2) says of a file that is another when its content is.
type stamp struct {
	dev, ino     uint64
	mode         uint32
	size         int64 // in bytes
	mtime, ctime int64 // in nanoseconds since 1970
}

// exec reports whether the owner may execute the file.
func (s stamp) exec() bool { return s.mode&unix.S_IXUSR != 0 }

// fileMode returns the type of the file as io/fs has it.
func (s stamp) fileMode() fs.FileMode {
	switch s.mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 0
	case unix.S_IFDIR:
		return fs.ModeDir
	case unix.S_IFLNK:
		return fs.ModeSymlink
	case unix.S_IFSOCK:
		return fs.ModeSocket
	case unix.S_IFIFO:
		return fs.ModeNamedPipe
	case unix.S_IFBLK, unix.S_IFCHR:
		return fs.ModeDevice
	}
	return fs.ModeIrregular
}

func fstat(fd int) (stamp, error) {
	return stampOf(func(st *unix.Stat_t) error { return unix.Fstat(fd, st) })
}

// lstat describes a file in an open directory, and does not follow a link in its
// place.
func lstat(dir int, name string) (stamp, error) {
	st, err := stampOf(func(st *unix.Stat_t) error {
		return unix.Fstatat(dir, path.Base(name), st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		err = &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return st, err
}

func stampOf(stat func(*unix.Stat_t) error) (stamp, error) {
	var st unix.Stat_t
	for {
		err := stat(&st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return stamp{
			dev: uint64(st.Dev), ino: st.Ino, mode: st.Mode, size: st.Size,
			mtime: unix.TimespecToNsec(st.Mtim), ctime: unix.TimespecToNsec(st.Ctim),
		}, err
	}
}

// settled is how much older than the look a file's times have to be. The clock
// that file systems read ticks a hundred times a second or more, but ticks late
// on a machine that is not given its processor.
const settled = 2 * time.Second

// A look is one look at the sources.
type look struct {
	before Fingerprint
	began  int64
	boot   string // of this system, random
	dev    uint64
	// local reports whether the times of the tree's file system are this kernel's.
	local bool
}

// newLook begins a look at the tree whose root is open.
func newLook(root int, before Fingerprint, now time.Time) look {
	l := look{began: now.UnixNano(), boot: bootID()}
	st, err := fstat(root)
	if err != nil || !localFiles(root) || l.boot == "" {
		return l
	}
	l.dev, l.local = st.dev, true
	// A clock that went back may give a time for the second time.
	if before.dev == l.dev && before.boot == l.boot && before.began <= l.began {
		l.before = before
	}
	return l
}

// bootID returns what the kernel calls this run of it, see random(4); "" where it
// does not say.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// clean has the kernel begin to write an open file's pages to the disk. With
// that it takes from every program that has one mapped the right to write to it
// (folio_clear_dirty_for_io in mm/page-writeback.c), so that the next write is a
// page fault, at which the file system gives the file new times.
func clean(fd int) error {
	return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}

// localFiles reports whether a directory is on a file system that takes its times
// from this kernel's clock, and gives a file new ones when it is written to: the
// magic numbers are those of statfs(2) and linux/magic.h. Others are read whole
// each time, among them tmpfs, which never learns of a write to a mapped file,
// and overlay, below which may be one.
func localFiles(dir int) bool {
	var system unix.Statfs_t
	for {
		err := unix.Fstatfs(dir, &system)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false
		}
		break
	}
	switch uint32(system.Type) {
	case 0xef53, // ext2, ext3, ext4
		0x58465342, // xfs
		0x9123683e, // btrfs
		0xf2f52010, // f2fs
		0x2fc12fc1, // zfs
		0xca451a4e: // bcachefs
		return true
	}
	return false
}

// known returns the sum of a file that is as it was at the last look.
func (l *look) known(name string, now stamp) (sum [sha256.Size]byte, ok bool) {
	if now.dev != l.dev {
		return sum, false
	}
	compare := func(f seenFile, name string) int { return strings.Compare(f.path, name) }
	i, ok := slices.BinarySearchFunc(l.before.files, name, compare)
	if !ok || l.before.files[i].stamp != now {
		return sum, false
	}
	return l.before.files[i].sum, true
}

// settles reports whether a file that was just read, and was like this before and
// after, cannot change without being seen to.
func (l *look) settles(s stamp) bool {
	limit := l.began - int64(settled)
	return l.local && s.dev == l.dev && s.mtime < limit && s.ctime < limit && s.ctime%int64(time.Second) != 0
}

// The encoding: the magic, the time of the look, the boot's id after its length,
// the device, the number of
// files, and for each its path as in a manifest's encoding, the inode, mode and
// size as unsigned varints, the two times in eight bytes each and the sum; at
// the end the SHA-256 of all that.
const fingerprintMagic = "kbuild fingerprint 2\n"

// minSeen is the least number of bytes that a file takes in the encoding.
const minSeen = 2 + 3 + 16 + sha256.Size

// MarshalBinary encodes the fingerprint, about 80 bytes a file.
func (f Fingerprint) MarshalBinary() ([]byte, error) {
	b := f.encode()
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

func (f Fingerprint) encode() []byte {
	b := make([]byte, 0, len(fingerprintMagic)+3*8+96*len(f.files)+sha256.Size)
	b = append(b, fingerprintMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(f.began))
	b = binary.AppendUvarint(b, uint64(len(f.boot)))
	b = append(b, f.boot...)
	b = binary.AppendUvarint(b, f.dev)
	b = binary.AppendUvarint(b, uint64(len(f.files)))
	before := ""
	for i := range f.files {
		s := &f.files[i]
		shared := sharedPrefix(before, s.path)
		b = binary.AppendUvarint(b, uint64(shared))
		b = binary.AppendUvarint(b, uint64(len(s.path)-shared))
		b = append(b, s.path[shared:]...)
		b = binary.AppendUvarint(b, s.ino)
		b = binary.AppendUvarint(b, uint64(s.mode))
		b = binary.AppendUvarint(b, uint64(s.size))
		b = binary.BigEndian.AppendUint64(b, uint64(s.mtime))
		b = binary.BigEndian.AppendUint64(b, uint64(s.ctime))
		b = append(b, s.sum[:]...)
		before = s.path
	}
	return b
}

// UnmarshalFingerprint reads what MarshalBinary wrote and nothing else. What
// cannot be read is as good as nothing: the caller may go on with the zero
// value.
func UnmarshalFingerprint(data []byte) (Fingerprint, error) {
	end := len(data) - sha256.Size
	if end < 0 || sha256.Sum256(data[:end]) != [sha256.Size]byte(data[end:]) {
		return Fingerprint{}, errors.New("read fingerprint: it is incomplete")
	}
	f, err := parseFingerprint(data[:end])
	if err != nil {
		return Fingerprint{}, fmt.Errorf("read fingerprint: %w", err)
	}
	return f, nil
}

func parseFingerprint(data []byte) (Fingerprint, error) {
	r := manifestReader{rest: data}
	magic, err := r.bytes(uint64(len(fingerprintMagic)))
	if err != nil || string(magic) != fingerprintMagic {
		return Fingerprint{}, errors.New("not a fingerprint of this kbuild")
	}
	var f Fingerprint
	var count uint64
	if f.began, err = r.nanoseconds(); err != nil {
		return Fingerprint{}, err
	}
	boot, err := r.counted()
	if err != nil {
		return Fingerprint{}, err
	}
	f.boot = string(boot)
	if f.dev, err = r.number(); err != nil {
		return Fingerprint{}, err
	}
	if count, err = r.number(); err != nil {
		return Fingerprint{}, err
	}
	if count > uint64(len(r.rest)/minSeen) {
		return Fingerprint{}, errTruncated
	}
	f.files = make([]seenFile, 0, count)
	before := ""
	for range count {
		s, err := r.seenFile(before)
		if err != nil {
			return Fingerprint{}, err
		}
		s.dev = f.dev
		f.files = append(f.files, s)
		before = s.path
	}
	if len(r.rest) != 0 {
		return Fingerprint{}, errors.New("data after the last file")
	}
	return f, nil
}

// counted reads bytes after their number.
func (r *manifestReader) counted() ([]byte, error) {
	n, err := r.number()
	if err != nil {
		return nil, err
	}
	return r.bytes(n)
}

func (r *manifestReader) nanoseconds() (int64, error) {
	b, err := r.bytes(8)
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

func (r *manifestReader) seenFile(before string) (s seenFile, err error) {
	if s.path, err = r.path(before); err != nil {
		return s, err
	}
	if !ValidPath(s.path) || s.path <= before {
		return s, fmt.Errorf("%q is not a path, or not in order", s.path)
	}
	var mode, size uint64
	for _, n := range []*uint64{&s.ino, &mode, &size} {
		if *n, err = r.number(); err != nil {
			return s, err
		}
	}
	if s.mode, s.size = uint32(mode), int64(size); uint64(s.mode) != mode || s.size < 0 {
		return s, fmt.Errorf("%q has no such mode or size", s.path)
	}
	for _, t := range []*int64{&s.mtime, &s.ctime} {
		if *t, err = r.nanoseconds(); err != nil {
			return s, err
		}
	}
	sum, err := r.bytes(sha256.Size)
	copy(s.sum[:], sum)
	return s, err
}
