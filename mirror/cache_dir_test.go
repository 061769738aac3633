package mirror_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kbuild/kbuild/mirror"
)

// Another writer, whose clock is ahead, may take for garbage what is not named yet: then
// no cache names it, either.
func TestPushCacheRobbed(t *testing.T) {
	for _, transport := range []string{"oci:", "dir:"} {
		dir := t.TempDir()
		p, first, second := place(t, transport+dir), cacheLayer(t, "first"), cacheLayer(t, "second")
		content, err := os.ReadFile(second.File)
		must(t, err)
		// The second layer is read when the first one is there.
		second.File = filepath.Join(t.TempDir(), "pipe")
		must(t, syscall.Mkfifo(second.File, 0o600))
		robbed := make(chan error)
		go func() {
			pipe, err := os.OpenFile(second.File, os.O_WRONLY, 0)
			if err == nil {
				err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
					if err == nil && e.Name() == first.Digest.Encoded() {
						return os.Remove(path)
					}
					return err
				})
				_, e := pipe.Write(content)
				err = errors.Join(err, e, pipe.Close())
			}
			robbed <- err
		}()
		var gone *mirror.CacheLayerError
		_, err = mirror.PushCache(t.Context(), p, cacheTag, []mirror.CacheLayer{first, second}, "", quick)
		if !errors.As(err, &gone) || gone.Digest != first.Digest {
			t.Errorf("%s: %v", transport, err)
		}
		must(t, <-robbed)
		var missing *mirror.NoCacheError
		if _, _, err := readCache(p, quick); !errors.As(err, &missing) {
			t.Errorf("%s: read: %v", transport, err)
		}
	}
}

// How old something is is told by the clock of the file system, which is that of all
// who write to it: seen from here all was written long ago, and at the same time.
func TestCacheGarbageClock(t *testing.T) {
	dir := t.TempDir()
	p, first := place(t, "oci:"+dir), cacheLayer(t, "first")
	pushCache(t, p, "", first)
	if _, err := mirror.PushCache(t.Context(), p, "kbuild-other", []mirror.CacheLayer{first}, "", quick); err != nil {
		t.Fatal(err)
	}
	blobs := filepath.Join(dir, "blobs/sha256")
	orphan := filepath.Join(blobs, cacheLayer(t, "orphan").Digest.Encoded())
	must(t, os.WriteFile(orphan, nil, 0o644))
	entries, err := os.ReadDir(blobs)
	must(t, err)
	then := time.Now().Add(-3 * time.Hour)
	for _, e := range entries {
		must(t, os.Chtimes(filepath.Join(blobs, e.Name()), then, then))
	}
	must(t, mirror.RemoveCache(t.Context(), p, "kbuild-other", quick))
	if _, err := os.Stat(orphan); err != nil {
		t.Errorf("what is as old as all else: %v", err)
	}
	old := then.Add(-2 * time.Hour)
	must(t, os.Chtimes(orphan, old, old))
	must(t, mirror.RemoveCache(t.Context(), p, cacheTag, quick))
	if _, err := os.Stat(orphan); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is two hours older: %v", err)
	}
}
