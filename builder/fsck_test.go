package builder

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files/filestest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// faulty is a Reporter that keeps the faults.
type faulty struct {
	heard
	faults []Fault
}

func (f *faulty) Faults(list []Fault) error {
	f.faults = list
	return nil
}

// Of what is in the store fsck finds what is damaged of kbuild's, and leaves what is
// somebody else's.
func TestFsckStore(t *testing.T) {
	maker := "=" + base64.StdEncoding.EncodeToString([]byte("kbuild-maker")) // as the library names the file
	flip := func(pattern string) func(t *testing.T, root string, image string) {
		return func(t *testing.T, root, image string) {
			t.Helper()
			found, err := filepath.Glob(filepath.Join(root, "graph", strings.ReplaceAll(pattern, "IMAGE", image)))
			if err != nil || len(found) != 1 {
				t.Fatalf("%s: %v, %v", pattern, found, err)
			}
			text, err := os.ReadFile(found[0])
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)/2] ^= 1
			if err := os.WriteFile(found[0], text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, root, image string)
		want   string
	}{
		"nothing":         {func(*testing.T, string, string) {}, ""},
		"a file":          {flip("vfs/dir/*/sources"), "file integrity checksum failed"},
		"a record":        {flip("vfs-images/IMAGE/" + maker), "kbuild-maker: it has digest"},
		"the manifest":    {flip("vfs-images/IMAGE/manifest"), "manifest: it has digest"},
		"somebody else's": {flip("vfs/dir/*/theirs"), ""},
		"a file that is gone": {func(t *testing.T, root, image string) {
			if err := os.Remove(filepath.Join(root, "graph/vfs-images", image, maker)); err != nil {
				t.Fatal(err)
			}
		}, "kbuild-maker: "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			root := filepath.Join(dir, "store")
			made := newCleanable(t, root, filepath.Join(dir, "cache"), "vfs")
			theirs := ""
			made.use(t, func(s *storage.Store) {
				img, err := s.Compose(t.Context(), "x", ocispec.Image{}, time.Unix(9, 0), layerOf("theirs", "of podman"))
				named, e := storage.LocalName("theirs:1")
				if err := errors.Join(err, e, s.AddNames(img.ID, named)); err != nil {
					t.Fatal(err)
				}
				theirs = img.ID
			})
			if err := os.RemoveAll(made.order.Plan.StateDir); err != nil { // it is not a whole state
				t.Fatal(err)
			}
			filestest.Write(t, filepath.Join(dir, "cache/runtime.json"), "[]")
			c.damage(t, root, made.image)
			check := func(repair bool, status int, want string) {
				t.Helper()
				said := &faulty{}
				got, err := fsckInside(t.Context(), &worker{voice: voice{said}}, FsckRequest{Settings: made.order.Settings, Repair: repair})
				if err != nil || got != status {
					t.Errorf("repair %t: status %d, %v", repair, got, err)
				}
				switch {
				case want == "" && len(said.faults) == 0:
				case want != "" && len(said.faults) == 1 && strings.Contains(said.faults[0].Why, want) &&
					said.faults[0].What == "localhost/kube-build:x" && said.faults[0].Repaired == repair:
				default:
					t.Errorf("repair %t: %+v", repair, said.faults)
				}
			}
			wrong := 0
			if c.want != "" {
				wrong = 1
			}
			check(false, wrong, c.want)
			check(true, 0, c.want)
			check(false, 0, "")
			made.use(t, func(s *storage.Store) {
				if _, err := s.LookupID(made.image); (err == nil) != (c.want == "") {
					t.Errorf("the image: %v", err)
				}
				if _, err := s.LookupID(theirs); err != nil {
					t.Errorf("somebody else's: %v", err)
				}
			})
		})
	}
}

// What is in no list any more is removed when nobody else brings an image in, and then
// only in a store of kbuild's own.
func TestFsckUnlisted(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "store")
	made := newCleanable(t, root, filepath.Join(dir, "cache"), "vfs")
	unlisted := filepath.Join(root, "graph/vfs/dir/unlisted")
	said := &faulty{}
	made.use(t, func(s *storage.Store) {
		in, err := s.OpenIncoming(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		filestest.Write(t, filepath.Join(root, "graph/vfs-layers/layers.json"), "spoilt")
		filestest.Write(t, filepath.Join(unlisted, "file"), "text")
		waited := false
		said.then = func() {
			if said.then = nil; !strings.Contains(said.lines[0], "waiting for another kbuild") {
				t.Errorf("said %q", said.lines)
			}
			_, err := os.Stat(unlisted)
			if waited = true; err != nil {
				t.Errorf("while another one brings an image in: %v", err)
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
		}
		status, err := fsckInside(t.Context(), &worker{voice: voice{said}}, FsckRequest{Settings: made.order.Settings, Repair: true})
		if err != nil || status != 0 || !waited {
			t.Errorf("status %d, waited %t, %v", status, waited, err)
		}
	})
	if _, err := os.Stat(unlisted); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
}
