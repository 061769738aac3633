package container

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A runtime that hangs, also when it is told to kill the container, does not hold
// up who tries it, and is killed with what it started.
func TestTryAllOfRuntimesThatHang(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	wrapped(t, map[string]string{
		"runc": "trap '' TERM; echo $$ >>" + pids + "; sleep 1000 & echo $! >>" + pids + "; wait; sleep 1000",
		"crun": "exit 3",
	})
	dir := t.TempDir()
	staticProbe(t, dir, 0)
	list, err := TryAll(context.Background(), dir, time.Millisecond)
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	// It is ten times as long as kbuild's own needed.
	if got := list[0].Answer; !strings.HasPrefix(got, "it starts no container within ") {
		t.Errorf("%q", got)
	}
	if list[1].Answer == "" || list[2].Runtime != "" {
		t.Errorf("%+v", list)
	}
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(data)) {
		// What is dead and not yet waited for by init has no program.
		if exe, err := os.Readlink(filepath.Join("/proc", pid, "exe")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("process %s still runs %s (%v)", pid, exe, err)
		}
	}
}
