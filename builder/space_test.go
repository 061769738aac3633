package builder

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheckRooms(t *testing.T) {
	dir := t.TempDir()
	st, err := left(dir)
	if err != nil {
		t.Fatal(err)
	}
	free := int64(st.Bavail) * st.Bsize
	two := []string{filepath.Join(dir, "not/made"), dir} // of one file system
	for name, test := range map[string]struct {
		needs []room
		full  bool
	}{
		"little":                {[]room{{bytes: 1, inodes: 1}, {}}, false},
		"more than there is":    {[]room{{bytes: 2 * free}, {}}, true},
		"each fits, both don't": {[]room{{bytes: free/2 + free/4}, {bytes: free/2 + free/4}}, true},
		"inodes":                {[]room{{}, {inodes: 2 * st.Files}}, st.Files > 0},
	} {
		var full *SpaceError
		if err := checkRooms(two, test.needs); errors.As(err, &full) != test.full || full != nil && full.Dir != dir {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFull(t *testing.T) {
	dir := t.TempDir()
	other := errors.New("other")
	if err := full(other, dir); err != other { //nolint:errorlint // just that one
		t.Errorf("%v", err)
	}
	if err := full(nil, dir); err != nil {
		t.Errorf("%v", err)
	}
	// The store's library does not wrap all of its errors.
	for _, cause := range []error{fmt.Errorf("write x: %w", unix.ENOSPC), errors.New("unpack: " + unix.EDQUOT.Error())} {
		err := full(cause, "", filepath.Join(dir, "gone"))
		var known *SpaceError
		if !errors.As(err, &known) || known.Dir != dir || !errors.Is(err, cause) || !strings.HasPrefix(err.Error(), "no space left in "+dir) {
			t.Errorf("%v", err)
		}
		if again := full(err, dir); again != err { //nolint:errorlint // just that one
			t.Errorf("%v", again)
		}
	}
}
