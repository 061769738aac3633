package files

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockInterval is how long [Lock] waits between two attempts.
const lockInterval = 100 * time.Millisecond

// Lock takes a Flock(2) on an open file or directory, which lasts as long as any
// process has it open. While another holder has one, waiting is called once, if
// it is not nil, and Lock waits until ctx ends.
func Lock(ctx context.Context, f *os.File, waiting func()) error {
	for said := false; ; {
		err := Flock(f, unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if !said && waiting != nil {
			waiting()
		}
		said = true
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockInterval):
		}
	}
}

// OpenLock makes a file, unless it is there, and takes [Lock] on it. Whoever holds
// it may remove it: the next one takes its lock on a new file.
func OpenLock(ctx context.Context, name string, waiting func()) (*os.File, error) {
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := Lock(ctx, f, waiting); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		held, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := os.Lstat(name); err == nil && os.SameFile(held, there) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		waiting = nil
	}
}

// Flock is Flock(2), begun again where a signal interrupts it.
func Flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
