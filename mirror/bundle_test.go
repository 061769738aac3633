package mirror_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// save makes a bundle of what a registry has as REPO under each name.
func save(t *testing.T, store *storage.Store, g *registry, images map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	what := mirror.Bundling{Dir: t.TempDir(), Target: dir, Kbuild: "v0", Files: map[string]string{
		mirror.BundleProgram: write(t, "program", strings.Repeat("program ", 100)),
	}}
	for name, at := range images {
		what.Images = append(what.Images, mirror.Bundled{Name: named(t, name), Sources: sources(t, g.Host()+"/"+at)})
	}
	file := filepath.Join(dir, "b")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = mirror.SaveBundle(context.Background(), store, out, what, options(t))
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

func verify(path string) error {
	b, err := mirror.OpenBundle(path)
	if err != nil {
		return err
	}
	return errors.Join(b.Verify(context.Background()), b.Close())
}

func TestBundle(t *testing.T) {
	g, store := serve(t), storagetest.Open(t)
	list := index(t, "amd64", "arm64")
	g.push(t, repo+":"+wantTag, list)
	file := save(t, store, g, map[string]string{wanted: repo})
	if err := verify(file); err != nil {
		t.Fatal(err)
	}
	if s := state(t, store); s != "" {
		t.Errorf("saving put into the store:\n%s", s)
	}
	again, err := os.ReadFile(save(t, storagetest.Open(t), g, map[string]string{wanted: repo}))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file); err != nil || !bytes.Equal(data, again) {
		t.Errorf("the same inputs made other bytes (%v)", err)
	}
	b, err := mirror.OpenBundle(file)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if got, want := b.Index.Images[0].Digest.String(), digestOf(t, list); got != want {
		t.Errorf("the bundle has %s, the registry %s", got, want)
	}
	entry, ok := b.Lock.Entry(wanted, platform(t, host))
	if !ok || entry.Index.String() != digestOf(t, list) || entry.Manifest != b.Index.Images[0].Manifest ||
		len(entry.Layers) == 0 {
		t.Errorf("its lock says %+v", entry)
	}

	// Straight from it, by its path alone, and with nothing of a network.
	opts := options(t)
	opts.Offline, opts.Lock = true, &entry
	got, origin, err := mirror.Pull(context.Background(), store, named(t, wanted), sources(t, file), opts)
	if err != nil {
		t.Fatal(err)
	}
	if origin.Source != "bundle:"+file || origin.Digest != entry.Manifest || origin.Index != entry.Index {
		t.Errorf("origin %+v", origin)
	}
	if match, err := mirror.MatchStored(store, got, entry); match != mirror.ByManifest || err != nil {
		t.Errorf("match %v, %v", match, err)
	}

	// And loaded; a second time there is nothing to do.
	store = storagetest.Open(t)
	for _, had := range []bool{false, true} {
		loaded, err := mirror.LoadBundle(context.Background(), store, file, options(t))
		if err != nil || len(loaded) != 1 || loaded[0].Had != had || loaded[0].Name.String() != wanted {
			t.Errorf("loaded %+v, %v", loaded, err)
		}
	}
	clean(t, store)
}

// TestBundleKeepsBytes: what a registry serves is in it as it is.
func TestBundleKeepsBytes(t *testing.T) {
	g, store := serve(t), storagetest.Open(t)
	one := img(t, "amd64", "one", "two")
	g.push(t, repo+":"+wantTag, one)
	file := save(t, store, g, map[string]string{wanted: repo})
	held := map[string]string{}
	for _, m := range unpack(t, file) {
		held[m.name] = string(m.data)
	}
	raw, err := one.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if held["blobs/sha256/"+strings.TrimPrefix(digestOf(t, one), "sha256:")] != string(raw) {
		t.Error("the manifest is another one")
	}
	layers, err := one.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		d, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		r, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || held["blobs/sha256/"+d.Hex] != string(data) {
			t.Errorf("layer %s is another one, %v", d, err)
		}
	}
}

// member is a file of an archive.
type member struct {
	name string
	data []byte
	link string
}

func unpack(t *testing.T, file string) []member {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []member
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeDir {
			list = append(list, member{name: h.Name, data: data})
		}
	}
}

func repack(t *testing.T, list []member) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, m := range list {
		if i == 2 && list[0].name == "bundle.json" {
			for _, dir := range []string{"blobs/", "blobs/sha256/"} {
				if err := w.WriteHeader(&tar.Header{Name: dir, Mode: 0o755, Typeflag: tar.TypeDir,
					Format: tar.FormatGNU}); err != nil {
					t.Fatal(err)
				}
			}
		}
		h := &tar.Header{Name: m.name, Size: int64(len(m.data)), Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatGNU}
		if m.name == mirror.BundleProgram {
			h.Mode = 0o755
		}
		if m.link != "" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, m.link, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, "tampered", b.String())
}

// indexed writes the index anew, as somebody would who knows the format.
func indexed(t *testing.T, list []member, edit func(*mirror.BundleIndex)) []member {
	t.Helper()
	var index mirror.BundleIndex
	if err := json.Unmarshal(list[0].data, &index); err != nil {
		t.Fatal(err)
	}
	index.Members = nil
	for _, m := range list[2:] {
		index.Members = append(index.Members, mirror.BundleMember{Name: m.name, Size: int64(len(m.data)),
			Digest: digest.FromBytes(m.data)})
	}
	if edit != nil {
		edit(&index)
	}
	data, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	list = slices.Clone(list)
	list[0].data = data
	list[1].data = fmt.Appendf(nil, "%x  bundle.json\n", sha256.Sum256(data))
	return list
}

func find(list []member, name string) int {
	return slices.IndexFunc(list, func(m member) bool { return strings.HasPrefix(m.name, name) })
}

func TestBundleTampered(t *testing.T) {
	g := serve(t)
	g.push(t, repo+":"+wantTag, img(t, "amd64", "one"))
	whole := save(t, storagetest.Open(t), g, map[string]string{wanted: repo})
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(repack(t, indexed(t, unpack(t, whole), nil))); err != nil {
		t.Fatalf("the test's own bundle: %v", err)
	}
	extra := member{name: "zzz", data: []byte("x")}
	out := filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		what  string
		edit  func(list []member) string
		wrong string
	}{
		{"an extra file at the end", func(l []member) string {
			return repack(t, append(l, extra))
		}, `holds a file "zzz" that is not in its index`},
		{"an extra file in between", func(l []member) string { return repack(t, slices.Insert(l, 4, extra)) },
			`holds a file "zzz" that is not in its index where blobs/`},
		{"an extra file in the index", func(l []member) string { return repack(t, indexed(t, append(l, extra), nil)) },
			`unexpected member "zzz"`},
		{"a name that leads out", func(l []member) string {
			l[3].name = "../../../../../../../.." + out
			return repack(t, l)
		}, `holds a file "../../`},
		{"a name that leads out, in the index", func(l []member) string {
			l[3].name = "../../../../../../../.." + out
			return repack(t, indexed(t, l, nil))
		}, `unexpected member`},
		{"an absolute name in the index", func(l []member) string {
			l[3].name = out
			return repack(t, indexed(t, l, nil))
		}, `unexpected member`},
		{"a link out", func(l []member) string {
			l[3] = member{name: l[3].name, link: out}
			return repack(t, l)
		}, `holds a link "blobs/sha256/`},
		{"a link more", func(l []member) string {
			return repack(t, slices.Insert(l, 3, member{name: "blobs", link: filepath.Dir(out)}))
		}, `holds a link "blobs" to`},
		{"a member twice", func(l []member) string { return repack(t, slices.Insert(l, 4, l[3])) }, `a second time`},
		{"a member twice in the index", func(l []member) string {
			return repack(t, indexed(t, slices.Insert(l, 4, l[3]), nil))
		}, `out of order or duplicated`},
		{"a missing blob", func(l []member) string { return repack(t, slices.Delete(l, 2, 3)) }, `where blobs/sha256/`},
		{"a missing blob in the index, too", func(l []member) string {
			return repack(t, indexed(t, slices.Delete(l, 2, 3), nil))
		}, `is missing`},
		{"a blob of no image", func(l []member) string {
			data := []byte("stray")
			l = append(l, member{name: fmt.Sprintf("blobs/sha256/%x", sha256.Sum256(data)), data: data})
			slices.SortFunc(l[2:], func(a, b member) int { return strings.Compare(a.name, b.name) })
			return repack(t, indexed(t, l, nil))
		}, `holds a blob that no image refers to`},
		{"a blob of other bytes", func(l []member) string {
			l[2].data = append([]byte("x"), l[2].data...)
			return repack(t, indexed(t, l, nil))
		}, `unexpected member`},
		{"another image in the lock", func(l []member) string {
			i := find(l, mirror.LockFile)
			l[i].data = []byte("kbuild-lock 1\n" + wanted + " " + host + " manifest=" + digestA + "\n")
			return repack(t, indexed(t, l, nil))
		}, `is not the one in its kbuild.lock`},
		{"another image in the layout", func(l []member) string {
			i := find(l, "index.json")
			l[i].data = bytes.ReplaceAll(l[i].data, []byte("kube-cross"), []byte("kube-curse"))
			return repack(t, indexed(t, l, nil))
		}, `index.json names different images`},
		{"a size without bound", func(l []member) string {
			return repack(t, indexed(t, l, func(i *mirror.BundleIndex) { i.Members[0].Size = 1 << 62 }))
		}, `has 4611686018427387904 bytes`},
		{"a negative size", func(l []member) string {
			return repack(t, indexed(t, l, func(i *mirror.BundleIndex) { i.Members[0].Size = -1 }))
		}, `has -1 bytes`},
		{"a newer version", func(l []member) string {
			return repack(t, indexed(t, l, func(i *mirror.BundleIndex) { i.Version = 3 }))
		}, `has version 3, this kbuild knows version 2`},
		{"an index without its checksum", func(l []member) string {
			l[0].data = bytes.Replace(l[0].data, []byte("v0"), []byte("v1"), 1)
			return repack(t, l)
		}, `bundle.json was changed`},
		{"truncated in a blob", func([]member) string { return write(t, "short", string(content[:len(content)/2])) },
			`truncated`},
		{"truncated at the end", func([]member) string { return write(t, "short", string(content[:len(content)-1])) },
			`is truncated: it has`},
		{"truncated in the index", func([]member) string { return write(t, "short", string(content[:700])) }, `truncated`},
		{"bytes after the end", func([]member) string { return write(t, "long", string(content)+"x") },
			`has 1 bytes after its end`},
		{"empty", func([]member) string { return write(t, "empty", "") }, `too short`},
		{"another archive", func(l []member) string { return repack(t, l[2:]) }, `is not a bundle`},
		{"a flipped byte in a layer", func([]member) string {
			flipped := bytes.Clone(content)
			flipped[bytes.LastIndex(flipped, []byte{0x1f, 0x8b})+20] ^= 1
			return write(t, "flipped", string(flipped))
		}, `was changed: it does not have the digest`},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := c.edit(unpack(t, whole))
			err := verify(path)
			var wrong *mirror.BundleError
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.wrong) || kinds(err) == "" {
				t.Errorf("verify: got %v, want %q", err, c.wrong)
			}
			store := storagetest.Open(t)
			if _, err := mirror.LoadBundle(context.Background(), store, path, options(t)); err == nil {
				t.Error("it was loaded")
			}
			_, _, err = mirror.Pull(context.Background(), store, named(t, wanted), sources(t, "bundle:"+path), options(t))
			if err == nil {
				t.Error("it was pulled from")
			}
			if s := state(t, store); s != "" {
				t.Errorf("the store has\n%s", s)
			}
			clean(t, store)
			if _, err := os.Lstat(out); err == nil {
				t.Error("a file was written outside")
			}
		})
	}
}

// TestBundleEveryByte: no byte of a bundle can change without being noticed.
func TestBundleEveryByte(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: every byte of a bundle flipped")
	}
	g := serve(t)
	g.push(t, repo+":"+wantTag, img(t, "amd64", "one"))
	file := save(t, storagetest.Open(t), g, map[string]string{wanted: repo})
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := 0; i < len(content); i += 3 {
		if _, err := f.WriteAt([]byte{content[i] ^ 0x04}, int64(i)); err != nil {
			t.Fatal(err)
		}
		if verify(file) == nil {
			t.Errorf("byte %d of %d was flipped and not noticed", i, len(content))
		}
		if _, err := f.WriteAt(content[i:i+1], int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := verify(file); err != nil {
		t.Error(err)
	}
}

// TestLoadBundleAllOrNothing: the second image cannot be unpacked, so the first
// one loses its name again, and who had it before has it.
func TestLoadBundleAllOrNothing(t *testing.T) {
	g := serve(t)
	g.push(t, "x/a:1", img(t, "amd64", "one"))
	g.push(t, "x/b:1", appended(t, img(t, "amd64"), blobLayer{[]byte(strings.Repeat("no archive ", 100)),
		types.DockerUncompressedLayer}))
	file := save(t, storagetest.Open(t), g, map[string]string{"example.com/a:1": "x/a:1", "example.com/b:1": "x/b:1"})
	if err := verify(file); err != nil {
		t.Fatal(err)
	}
	for _, earlier := range []bool{false, true} {
		store := storagetest.Open(t)
		if earlier {
			g.push(t, "x/a:0", img(t, "amd64", "older"))
			if _, _, err := mirror.Pull(context.Background(), store, named(t, "example.com/a:1"), sources(t, g.Host()+"/x/a:0"),
				options(t)); err != nil {
				t.Fatal(err)
			}
		}
		before := state(t, store)
		if _, err := mirror.LoadBundle(context.Background(), store, file, options(t)); err == nil {
			t.Fatal("it was loaded")
		}
		if after := state(t, store); after != before {
			t.Errorf("the store had\n%sand has\n%s", before, after)
		}
		clean(t, store)
	}
}

// TestSaveBundleRefuses what is not the locked image, and images of a store.
func TestSaveBundleRefuses(t *testing.T) {
	g, store := serve(t), storagetest.Open(t)
	g.push(t, repo+":"+wantTag, img(t, "amd64", "one"))
	if _, _, err := mirror.Pull(context.Background(), store, named(t, wanted), sources(t, g.Host()+"/"+repo),
		options(t)); err != nil {
		t.Fatal(err)
	}
	locked := mirror.LockEntry{Name: wanted, Platform: platform(t, host), Manifest: digest.Digest(digestA)}
	for _, c := range []struct {
		what  mirror.Bundled
		wrong string
	}{
		{mirror.Bundled{Name: named(t, wanted), Sources: sources(t, g.Host()+"/"+repo), Lock: &locked},
			"kbuild.lock has " + digestA},
		{mirror.Bundled{Name: named(t, wanted), Sources: sources(t, "containers-storage:"+wanted)},
			"keeps no layer as it was pulled"},
	} {
		var out bytes.Buffer
		what := mirror.Bundling{Images: []mirror.Bundled{c.what}, Dir: t.TempDir(), Target: t.TempDir()}
		_, err := mirror.SaveBundle(context.Background(), store, &out, what, options(t))
		if err == nil || !strings.Contains(err.Error(), c.wrong) || kinds(err) == "" || out.Len() > 0 {
			t.Errorf("got %v and %d bytes, want %s", err, out.Len(), c.wrong)
		}
	}
}

func FuzzParseBundleIndex(f *testing.F) {
	f.Add([]byte(`{"version":1,"kbuild":"v0","images":[{"name":"gcr.io/x/y:1","platform":"linux/amd64","digest":"` +
		digestA +
		`","mediaType":"x","size":1,"manifest":"` + digestA + `"}],"members":[{"name":"blobs/sha256/` +
		strings.Repeat("a", 64) + `","size":1,"digest":"` + digestA + `"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"members":[{"name":"../x","size":-1,"digest":"sha256:../x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := mirror.ParseBundleIndex(data)
		if err != nil {
			return
		}
		for _, m := range index.Members {
			if !filepath.IsLocal(m.Name) || filepath.Clean(m.Name) != m.Name || m.Size < 0 {
				t.Errorf("member %+v was let through", m)
			}
		}
	})
}
