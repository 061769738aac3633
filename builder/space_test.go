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
	st, err := left(dir)
	if err != nil {
		t.Fatal(err)
	}
	much := int64(st.Bavail)*st.Bsize > plenty && (st.Files == 0 || st.Ffree > 0)
	for _, test := range []struct {
		cause error
		is    bool
	}{
		{fmt.Errorf("write x: %w", unix.EDQUOT), true},
		// Whatever says this, it is not a file system with much space.
		{fmt.Errorf("unshare: %w", unix.ENOSPC), !much},
		// The store's library does not wrap all of its errors.
		{errors.New("unpack: " + unix.ENOSPC.Error()), !much},
	} {
		cause := test.cause
		err := full(cause, "", filepath.Join(dir, "gone"))
		var known *SpaceError
		if errors.As(err, &known) != test.is || !errors.Is(err, cause) {
			t.Errorf("%v of %v", err, cause)
		}
		if known != nil && (known.Dir != dir || !strings.HasPrefix(err.Error(), "no space left in "+dir)) {
			t.Errorf("%v", err)
		}
		if again := full(err, dir); again != err { //nolint:errorlint // just that one
			t.Errorf("%v", again)
		}
	}
}
