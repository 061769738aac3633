package builder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// part is a bundle that has not its name yet. It is locked, so that the next run
// tells what a killed one left from what another one writes.
type part struct{ *os.File }

func openPart(file string) (*part, error) {
	dir, prefix := filepath.Dir(file), "."+filepath.Base(file)+".kbuild-"
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("exists and is not a regular file")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !e.Type().IsRegular() {
			continue
		}
		left := filepath.Join(dir, e.Name())
		f, err := os.Open(left)
		if err != nil {
			continue // another user's
		}
		if files.Flock(f, unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.Remove(left) //nolint:errcheck // rubbish that stays is no reason to write nothing
		}
		f.Close()
	}
	f, err := os.CreateTemp(dir, prefix+"*")
	if err != nil {
		return nil, err
	}
	p := &part{f}
	if err := errors.Join(files.Flock(f, unix.LOCK_EX|unix.LOCK_NB), f.Chmod(0o644)); err != nil {
		return nil, errors.Join(err, p.discard())
	}
	return p, nil
}

// discard removes the file unless it got its name.
func (p *part) discard() error {
	os.Remove(p.Name()) //nolint:errcheck // it may have its name by now
	return p.Close()
}
