package preflight

import (
	"io/fs"
	"testing"
)

func TestFreeRange(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "100000-165535",
		"a:100000:65536\n":         "165536-231071",
		"a:165536:65536\n":         "100000-165535",
		"a:100001:1\n":             "100002-165537",
		"b:200000:9\na:100000:9\n": "100009-165544",
		"a:100000:65536\nb:165536:65536\nc:300000:1\n": "231072-296607",
		"# a:100000:65536\nnonsense\na:x:1\n":          "100000-165535",
		"a:1:4294967290\n":                             "",
	} {
		read := func(name string) ([]byte, error) {
			if name != "/etc/subgid" {
				return nil, fs.ErrNotExist
			}
			return []byte(text), nil
		}
		if got := freeRange(read, rangeLength); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestMoreIDs(t *testing.T) {
	read := func(string) ([]byte, error) { return []byte("me:100000:65536\n"), nil }
	got := MoreIDs(read, "me", 478493, 65537)
	if want := "sudo usermod --add-subuids 165536-624287 --add-subgids 165536-624287 me"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
