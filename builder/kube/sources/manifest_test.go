package sources

import (
	"bytes"
	"crypto/sha256"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func file(path, content string) Entry {
	return Entry{Path: path, Kind: File, Size: int64(len(content)), Sum: sha256.Sum256([]byte(content))}
}

func someManifest() Manifest {
	exec := file("b/run.sh", "#!")
	exec.Exec = true
	return Manifest{
		{Path: "a", Kind: Link, Target: "../b\n"},
		{Path: "b", Kind: Dir},
		{Path: "b-c", Kind: Dir},
		file("b/one", "1"),
		file("b/one\ntwo", ""),
		exec,
		file("b/\xff", strings.Repeat("x", 300)),
	}
}

func TestManifestEncoding(t *testing.T) {
	long := make(Manifest, 0, 200)
	for i := range cap(long) {
		long = append(long, file("dir/"+strings.Repeat("n", i+1), "x"))
	}
	for name, m := range map[string]Manifest{"none": nil, "some": someManifest(), "long": long} {
		data, err := m.MarshalBinary()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		back, err := UnmarshalManifest(data)
		if err != nil || !slices.Equal(back, m) {
			t.Errorf("%s: reads back as %+v, %v", name, back, err)
		}
		for n := range data {
			if _, err := UnmarshalManifest(data[:n]); err == nil {
				t.Fatalf("%s: %d of %d bytes are a manifest", name, n, len(data))
			}
		}
		if _, err := UnmarshalManifest(append(slices.Clone(data), 0)); err == nil {
			t.Errorf("%s: a byte more is still a manifest", name)
		}
	}
}

// Every field counts, and no two manifests have one digest.
func TestDigest(t *testing.T) {
	changes := map[string]func(Manifest) Manifest{
		"nothing":  func(m Manifest) Manifest { return m },
		"empty":    func(m Manifest) Manifest { return nil },
		"one less": func(m Manifest) Manifest { return m[:len(m)-1] },
		"path":     func(m Manifest) Manifest { m[3].Path = "b/onf"; return m },
		"kind":     func(m Manifest) Manifest { m[2] = file("b-c", ""); return m },
		"exec":     func(m Manifest) Manifest { m[3].Exec = true; return m },
		"size":     func(m Manifest) Manifest { m[3].Size++; return m },
		"sum":      func(m Manifest) Manifest { m[3].Sum[31]++; return m },
		"target":   func(m Manifest) Manifest { m[0].Target = "../b"; return m },
		"two of one": func(m Manifest) Manifest {
			return slices.Insert(slices.Delete(m, 4, 5), 4, file("b/one\n", ""), file("b/two", ""))
		},
		"name, chars": func(m Manifest) Manifest { m[4].Path = "b/one/two"; return m },
	}
	digests := map[digest.Digest]string{}
	for name, change := range changes {
		sum := change(someManifest()).Digest()
		if other, ok := digests[sum]; ok {
			t.Errorf("%q and %q have the digest %s", name, other, sum)
		}
		digests[sum] = name
		if err := sum.Validate(); err != nil {
			t.Errorf("digest is %s: %v", sum, err)
		}
	}
	// Records of earlier runs are compared with it.
	const want = "sha256:6a00857eacc810f68093973f89ec4054e4370e32ff679b0c4df789482c5008f3"
	if got := someManifest().Digest(); got != want {
		t.Errorf("the digest changed to %s", got)
	}
}

func TestMarshalRefuses(t *testing.T) {
	for name, m := range map[string]Manifest{
		"order":          {{Path: "b", Kind: Dir}, {Path: "a", Kind: Dir}},
		"twice":          {{Path: "a", Kind: Dir}, {Path: "a", Kind: Dir}},
		"no path":        {{Path: "", Kind: Dir}},
		"root":           {{Path: ".", Kind: Dir}},
		"absolute":       {{Path: "/a", Kind: Dir}},
		"above":          {{Path: "../a", Kind: Dir}},
		"parent":         {{Path: "..", Kind: Dir}},
		"not clean":      {{Path: "a//b", Kind: Dir}},
		"ends in slash":  {{Path: "a/", Kind: Dir}},
		"NUL":            {{Path: "a\x00", Kind: Dir}},
		"no kind":        {{Path: "a"}},
		"other kind":     {{Path: "a", Kind: 4}},
		"exec of a dir":  {{Path: "a", Kind: Dir, Exec: true}},
		"size of a link": {{Path: "a", Kind: Link, Target: "b", Size: 1}},
		"sum of a dir":   {{Path: "a", Kind: Dir, Sum: [32]byte{1}}},
		"negative size":  {{Path: "a", Kind: File, Size: -1}},
		"no target":      {{Path: "a", Kind: Link}},
		"target of file": {{Path: "a", Kind: File, Target: "b"}},
		"NUL in target":  {{Path: "a", Kind: Link, Target: "b\x00"}},
	} {
		if _, err := m.MarshalBinary(); err == nil {
			t.Errorf("%s: no error", name)
		}
		// What the encoder would have written is no manifest for the reader.
		if back, err := UnmarshalManifest(m.encode()); err == nil && reflect.DeepEqual(back, m) {
			t.Errorf("%s: reads back", name)
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	head := func(rest string) []byte { return []byte(manifestMagic + rest) }
	for name, data := range map[string][]byte{
		"nothing":          nil,
		"other magic":      []byte("kbuild sources 2\n\x00"),
		"many entries":     head("\xff\xff\xff\xff\x0f\x00\x01a\x02"),
		"long number":      head("\x81\x00\x00\x01a\x02"),
		"endless number":   head("\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81"),
		"shares too much":  head("\x01\x01\x01a\x02"),
		"shares too few":   head("\x02\x00\x02aa\x02\x00\x02ab\x02"),
		"path beyond end":  head("\x01\x00\x09a\x02"),
		"huge size":        head("\x01\x00\x01a\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + strings.Repeat("s", 32)),
		"executable dir":   head("\x01\x00\x01a\x82"),
		"target of nobody": head("\x01\x00\x01a\x03\x00"),
	} {
		if m, err := UnmarshalManifest(data); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func FuzzUnmarshalManifest(f *testing.F) {
	for _, m := range []Manifest{nil, someManifest(), someManifest()[:2]} {
		f.Add(m.encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := UnmarshalManifest(data)
		if err != nil {
			return
		}
		again, err := m.MarshalBinary()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q reads as %+v, which is written as %q, %v", data, m, again, err)
		}
	})
}

func TestWithout(t *testing.T) {
	m := Manifest{
		{Path: "a", Kind: Dir}, {Path: "a/b", Kind: Dir}, {Path: "a/b/made.go", Kind: File},
		{Path: "c", Kind: Dir}, {Path: "c/made.go", Kind: File}, {Path: "c/real.go", Kind: File},
		{Path: "empty", Kind: Dir},
	}
	var left []string
	for _, e := range m.Without([]string{"a/b/made.go", "c/made.go", "nowhere"}) {
		left = append(left, e.Path)
	}
	if want := []string{"c", "c/real.go", "empty"}; !slices.Equal(left, want) {
		t.Errorf("what is left: %q, not %q", left, want)
	}
}
