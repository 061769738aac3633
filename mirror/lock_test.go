package mirror_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/mirror"
)

var (
	digestA = "sha256:" + strings.Repeat("a", 64)
	digestB = "sha256:" + strings.Repeat("b", 64)
)

func TestParseLock(t *testing.T) {
	const head = "# a comment\n\nkbuild-lock 1\n"
	const name = "gcr.io/google_containers/kube-cross:v1.4.2-1 linux/amd64 "
	for _, c := range []struct{ what, text, wrong string }{
		{"whole", head + name + "index=" + digestA + " manifest=" + digestB + " config=" + digestA + " layers=" + digestA +
			"," + digestB + "\n", ""},
		{"manifest alone, as of schema 1", head + name + "manifest=" + digestA, ""},
		{"layers alone", head + name + "config=" + digestA + " layers=" + digestA, ""},
		{"DOS line ends", strings.ReplaceAll(head+name+"manifest="+digestA+"\n", "\n", "\r\n"), ""},
		{"nothing locked", head, ""},
		{"empty", "", "line 1: is not \"kbuild-lock 1\""},
		{"no header", name + "manifest=" + digestA, "line 1: is not \"kbuild-lock 1\""},
		{"newer", "kbuild-lock 7\n", "line 1: has version \"7\", this kbuild knows version 1"},
		{"conflict", head + "<<<<<<< HEAD\n", "line 4: unresolved conflict"},
		{"twice", head + strings.Repeat(name+"manifest="+digestA+"\n", 2),
			"line 5: gcr.io/google_containers/kube-cross:v1.4.2-1 for linux/amd64 is locked twice"},
		{"short name", head + "kube-cross:1 linux/amd64 manifest=" + digestA,
			"line 4: \"kube-cross:1\" is not a full image name; docker.io/library/kube-cross:1 would be"},
		{"bad platform", head + "docker.io/library/golang:1 amd64 manifest=" + digestA,
			"line 4: platform \"amd64\" is not os/arch"},
		{"a path for a digest", head + name + "manifest=sha256:../../etc/passwd",
			"line 4: manifest=sha256:../../etc/passwd: "},
		{"too few hex digits", head + name + "manifest=sha256:abcd", "line 4: manifest=sha256:abcd: "},
		{"unknown key", head + name + "manifest=" + digestA + " size=" + digestA, "line 4: size= is not"},
		{"key twice", head + name + "manifest=" + digestA + " manifest=" + digestA, "line 4: manifest= is duplicated"},
		{"two manifests", head + name + "manifest=" + digestA + "," + digestB, "line 4: manifest= has more than one digest"},
		{"index alone", head + name + "index=" + digestA, "line 4: has neither manifest= nor layers="},
		{"layers without config", head + name + "manifest=" + digestA + " layers=" + digestA,
			"line 4: config= and layers= require each other"},
		{"not text", head + name + "\xff\xfe", "line 4: is not text"},
		{"no digest", head + name, "line 4: is not NAME PLATFORM"},
	} {
		t.Run(c.what, func(t *testing.T) {
			lock, err := mirror.ParseLock([]byte(c.text))
			if c.wrong == "" {
				if err != nil {
					t.Fatal(err)
				}
				again, err := mirror.ParseLock(lock.Marshal())
				if err != nil || !bytes.Equal(again.Marshal(), lock.Marshal()) {
					t.Errorf("written and read again: %v\n%s", err, again.Marshal())
				}
				return
			}
			var syntax *mirror.LockSyntaxError
			if !errors.As(err, &syntax) || !strings.HasPrefix(err.Error(), c.wrong) {
				t.Errorf("got %v, want %s", err, c.wrong)
			}
		})
	}
}

func TestLockIsSorted(t *testing.T) {
	var lock mirror.Lock
	for _, line := range []string{"z/b linux/arm64", "z/b linux/amd64", "a/x linux/amd64"} {
		name, text, _ := strings.Cut(line, " ")
		platform := platform(t, text)
		lock.Set(mirror.LockEntry{Name: "registry.example/" + name + ":1", Platform: platform, Manifest: "sha256:" + "0000"})
		lock.Set(mirror.LockEntry{Name: "registry.example/" + name + ":1", Platform: platform, Manifest: "sha256:" + "1111"})
	}
	var lines []string
	for line := range strings.Lines(string(lock.Marshal())) {
		if strings.HasPrefix(line, "registry") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	want := "registry.example/a/x:1 linux/amd64 manifest=sha256:1111\n" +
		"registry.example/z/b:1 linux/amd64 manifest=sha256:1111\n" +
		"registry.example/z/b:1 linux/arm64 manifest=sha256:1111"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte("kbuild-lock 1\ngcr.io/x/y:1 linux/amd64 manifest=" + digestA + " config=" + digestB + " layers=" +
		digestA + "," + digestB + "\n"))
	f.Add([]byte("kbuild-lock 1\ngcr.io/x/y@" + digestA + " linux/arm/v7 index=" + digestB + " manifest=" + digestA))
	f.Add([]byte("kbuild-lock 2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lock, err := mirror.ParseLock(data)
		if err != nil {
			return
		}
		again, err := mirror.ParseLock(lock.Marshal())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, lock.Marshal())
		}
		if !bytes.Equal(lock.Marshal(), again.Marshal()) {
			t.Errorf("changed by writing:\n%s\n%s", lock.Marshal(), again.Marshal())
		}
	})
}
