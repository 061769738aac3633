package mirror_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
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

// In a directory, too: and neither links nor pipes in it lead anywhere.
func TestCacheDirHostile(t *testing.T) {
	table, pack := cacheLayer(t, "table"), cacheLayer(t, "objects")
	victim := write(t, "victim", "keep me")
	for what, c := range map[string]struct {
		spoil func(t *testing.T, blob, manifest string)
		want  string
	}{
		"flipped": {func(t *testing.T, blob, _ string) {
			data, err := os.ReadFile(blob)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)-1] ^= 1
			must(t, os.WriteFile(blob, data, 0o644))
		}, "does not have its digest"},
		"short":   {func(t *testing.T, blob, _ string) { must(t, os.Truncate(blob, pack.Size-1)) }, "ends after"},
		"long":    {func(t *testing.T, blob, _ string) { must(t, os.Truncate(blob, pack.Size+1)) }, "more than"},
		"missing": {func(t *testing.T, blob, _ string) { must(t, os.Remove(blob)) }, "no such file"},
		"link": {func(t *testing.T, blob, _ string) {
			must(t, os.Remove(blob))
			must(t, os.Symlink(victim, blob))
		}, "not a regular file"},
		"pipe": {func(t *testing.T, blob, _ string) {
			must(t, os.Remove(blob))
			must(t, syscall.Mkfifo(blob, 0o644))
		}, "not a regular file"},
		"directory": {func(t *testing.T, blob, _ string) {
			must(t, os.Remove(blob))
			must(t, os.Mkdir(blob, 0o755))
		}, "not a regular file"},
		"index is a link": {func(t *testing.T, _, manifest string) {
			must(t, os.Remove(manifest))
			must(t, os.Symlink(victim, manifest))
		}, "not a regular file"},
		"index is no JSON": {func(t *testing.T, _, manifest string) {
			must(t, os.WriteFile(manifest, []byte("{"), 0o644))
		}, ""},
	} {
		for _, transport := range []string{"oci", "dir"} {
			t.Run(what+" "+transport, func(t *testing.T) {
				dir := t.TempDir()
				p := place(t, transport+":"+dir)
				first := pushCache(t, p, "", table, pack)
				blob, manifest := filepath.Join(dir, "blobs/sha256", pack.Digest.Encoded()), filepath.Join(dir, "index.json")
				if transport == "dir" {
					blob = filepath.Join(dir, cacheTag, pack.Digest.Encoded())
					manifest = filepath.Join(dir, cacheTag, "manifest.json")
				}
				c.spoil(t, blob, manifest)
				if _, _, err := readCache(p, quick); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("read: %v", err)
				}
				// Written again as a whole, it is right again, unless something is in the way.
				_, err := mirror.PushCache(context.Background(), p, cacheTag, []mirror.CacheLayer{table, pack}, first, quick)
				if err == nil {
					_, _, err = readCache(p, quick)
				}
				healed := what != "directory" && (transport == "dir" || !strings.HasPrefix(what, "index"))
				if healed != (err == nil) {
					t.Errorf("after writing it again: %v", err)
				}
				if data, err := os.ReadFile(victim); err != nil || string(data) != "keep me" {
					t.Errorf("what a link leads to: %q, %v", data, err)
				}
			})
		}
	}
}

// A directory leads nowhere by a link in the place of its own.
func TestCacheDirBehindLinks(t *testing.T) {
	elsewhere := t.TempDir()
	for transport, name := range map[string]string{"oci": "blobs", "dir": cacheTag} {
		dir := t.TempDir()
		must(t, os.Symlink(elsewhere, filepath.Join(dir, name)))
		p := place(t, transport+":"+dir)
		layers := []mirror.CacheLayer{cacheLayer(t, "table")}
		if _, err := mirror.PushCache(context.Background(), p, cacheTag, layers, "", quick); err == nil {
			t.Errorf("%s: written behind a link", p)
		}
		if _, _, err := readCache(p, quick); err == nil {
			t.Errorf("%s: read behind a link", p)
		}
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// What no manifest names any more goes, when it is old.
func TestCacheGarbage(t *testing.T) {
	for _, transport := range []string{"oci:", "dir:"} {
		dir := t.TempDir()
		p := place(t, transport+dir)
		first, second, third := cacheLayer(t, "first"), cacheLayer(t, "second"), cacheLayer(t, "third")
		d := pushCache(t, p, "", first)
		d = pushCache(t, p, d, second)
		old := time.Now().Add(-2 * time.Hour)
		err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			return os.Chtimes(path, old, old)
		})
		must(t, err)
		pushCache(t, p, d, third)
		names := map[string]bool{}
		must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			names[e.Name()] = true
			return err
		}))
		if names[first.Digest.Encoded()] || !names[second.Digest.Encoded()] || !names[third.Digest.Encoded()] {
			t.Errorf("%s: first %v, second %v, third %v", transport,
				names[first.Digest.Encoded()], names[second.Digest.Encoded()], names[third.Digest.Encoded()])
		}
	}
}
