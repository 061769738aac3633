package builder

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kbuild/kbuild/mirror/mirrortest"
	"golang.org/x/sys/unix"
)

// A disk that becomes full while a cache is read is said to be, in one line. The build
// goes on with what had passed its checks by then, or with nothing, and what it ends
// with is right.
func TestReadCacheFull(t *testing.T) {
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprintf("object%d.a", i))
	}
	filled := atomic.Pointer[func()]{} // called before a pack is sent
	blobs := atomic.Int32{}
	g, err := mirrortest.ServeThrough(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			// The first one that is read is the table.
			if req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") && blobs.Add(1) == 2 {
				(*filled.Load())()
			}
			next.ServeHTTP(w, req)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	place := g.Host() + "/team/kbuild"
	w := newRunner(t, place)
	w.compile(names...)
	w.writeCache(t.Context())
	for what, most := range map[string]int{"blocks": 90, "inodes": 14} {
		outcomes := map[bool]bool{} // whether something was read
		for free := 0; free <= most; free += most / 14 {
			dir := smallDisk(t)
			r := newRunnerIn(t, dir, place)
			fill := func() { leave(t, dir, what, free) }
			filled.Store(&fill)
			blobs.Store(0)
			r.readCache(t.Context())
			<-r.reading.over
			lines := len(r.reading.lines)
			r.reading.join(t.Context())
			if err := os.RemoveAll(filepath.Join(dir, "fill")); err != nil {
				t.Fatal(err)
			}
			read := r.said("objects read from " + place)
			outcomes[read] = true
			full := r.said("no space left on device")
			if !read && !full || lines > 2 || lines > 1 && !read {
				t.Errorf("%s, %d free: %q", what, free, r.noted.lines)
			}
			r.right(dir)
			if cold := r.compile(names...); (cold == "") != read {
				t.Errorf("%s, %d free: compiled from nothing: %q; %q", what, free, cold, r.noted.lines)
			}
			r.right(dir)
		}
		if len(outcomes) != 2 {
			t.Errorf("%s: of all disks something was read: %v", what, outcomes)
		}
	}
}

// right checks what is kept.
func (r *runner) right(dir string) {
	r.t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".a" {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && string(data) != object(filepath.Base(path)) {
			err = fmt.Errorf("%s holds %d other bytes", path, len(data))
		}
		return err
	})
	if err != nil {
		r.t.Error(err)
	}
}

// smallDisk is a file system of little room.
func smallDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,nr_inodes=500"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// leave fills a file system until so many blocks or inodes are free.
func leave(t *testing.T, dir, what string, free int) {
	t.Helper()
	into := filepath.Join(dir, "fill")
	if err := os.Mkdir(into, 0o700); err != nil {
		t.Error(err)
		return
	}
	fillUp(t, into, what)
	if what == "blocks" {
		file := filepath.Join(into, "fill")
		info, err := os.Stat(file)
		if err == nil {
			err = os.Truncate(file, max(info.Size()-int64(free)*int64(os.Getpagesize()), 0))
		}
		if err != nil {
			t.Error(err)
		}
		return
	}
	for i := range free {
		if err := os.Remove(filepath.Join(into, fmt.Sprint("fill", i))); err != nil {
			t.Error(err)
		}
	}
}
