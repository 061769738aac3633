package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A disk is a file system in a file, of which pictures can be taken as a power
// cut leaves it: what the file system has given to its device is there, what it
// still holds in memory is not.
//
// The file lies on another file system, the carrier, which is frozen while the
// picture is taken, so that the picture is of one moment. The disk itself is
// never frozen: that would write everything to it.
type disk struct {
	carrier string // directory at which the carrier is mounted
	image   string // file on it
	at      string // directory at which the disk is mounted
}

const (
	diskSize    = 4 << 30 // bytes; only what is used takes memory
	carrierSize = diskSize + diskSize/4
)

// errNoDisk says that nothing can be tried here: not every container has loop devices.
var errNoDisk = errors.New("a disk cannot be made here")

// newDisk makes a carrier in memory, where flushing it costs nothing.
func newDisk(ctx context.Context, dir string) (*disk, error) {
	d := &disk{carrier: filepath.Join(dir, "carrier"), at: filepath.Join(dir, "disk")}
	d.image = filepath.Join(d.carrier, "disk.img")
	memory := filepath.Join(dir, "memory")
	for _, name := range []string{d.carrier, d.at, memory} {
		if err := os.Mkdir(name, 0o755); err != nil {
			return nil, err
		}
	}
	if err := unix.Mount("tmpfs", memory, "tmpfs", 0, "mode=0755,size=90%"); err != nil {
		return nil, fmt.Errorf("mount a tmpfs: %w", err)
	}
	file := filepath.Join(memory, "carrier.img")
	if err := makeFileSystem(ctx, file, carrierSize, "^has_journal"); err != nil {
		return nil, err
	}
	return d, mountImage(ctx, file, d.carrier, "noatime")
}

// makeFileSystem makes an ext4 in a sparse file.
func makeFileSystem(ctx context.Context, file string, size int64, features string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	_, err = output(ctx, exec.Command("mkfs.ext4", "-q", "-F", "-O", features,
		"-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", file))
	return err
}

// mountImage mounts a file; the kernel frees the loop device at the unmount.
func mountImage(ctx context.Context, file, at, options string) error {
	_, err := output(ctx, exec.Command("mount", "-t", "ext4", "-o", "loop,"+options, file, at))
	return err
}

// format makes the disk empty.
func (d *disk) format(ctx context.Context) error {
	return makeFileSystem(ctx, d.image, diskSize, "has_journal")
}

func (d *disk) mount(ctx context.Context, options string) error {
	return mountImage(ctx, d.image, d.at, options)
}

// unmount waits for what is still using the disk: who was killed takes a moment
// to be gone.
func (d *disk) unmount() error {
	var err error
	for range 300 {
		if err = unix.Unmount(d.at, 0); !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("unmount %s: %w", d.at, err)
}

// picture copies the disk as it is at this moment.
func (d *disk) picture(to string) (err error) {
	f, err := os.Open(d.carrier)
	if err != nil {
		return err
	}
	defer f.Close()
	// FIFREEZE and FITHAW of linux/fs.h: what the disk gives to its device waits
	// until the copy is made.
	const freeze, thaw = 0xc0045877, 0xc0045878
	if err := unix.IoctlSetInt(int(f.Fd()), freeze, 0); err != nil {
		return fmt.Errorf("freeze %s: %w", d.carrier, err)
	}
	defer func() {
		if e := unix.IoctlSetInt(int(f.Fd()), thaw, 0); e != nil {
			err = errors.Join(err, fmt.Errorf("thaw %s: %w", d.carrier, e))
		}
	}()
	return copySparse(d.image, to)
}

// restore makes the disk, which is not mounted, what a picture shows.
func (d *disk) restore(from string) error { return copySparse(from, d.image) }

// copySparse copies a file and leaves its holes.
func copySparse(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); at < info.Size(); {
		start, err := in.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		if at, err = in.Seek(start, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := in.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := out.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(out, in, at-start); err != nil {
			return err
		}
	}
	return nil
}
