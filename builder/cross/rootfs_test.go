package cross

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube/golang"
)

func tarOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if h.Typeflag == tar.TypeReg {
			h.Size = 1
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func entry(kind byte, name string) tar.Header {
	return tar.Header{Typeflag: kind, Name: name, Mode: 0o755, Uname: "root"}
}

func linkTo(kind byte, name, target string) tar.Header {
	return tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o777}
}

// system is the least that passes for a root file system.
var system = []tar.Header{
	entry(tar.TypeDir, "./"), entry(tar.TypeDir, "./usr/"), entry(tar.TypeDir, "./usr/bin/"), entry(tar.TypeDir, "./etc/"),
	entry(tar.TypeReg, "./usr/bin/bash"), linkTo(tar.TypeSymlink, "./bin", "usr/bin"),
}

func TestRootfsRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		more []tar.Header
		err  string
	}{
		{name: "a name that climbs", more: []tar.Header{entry(tar.TypeReg, "./../evil")}, err: "leads out"},
		{name: "a name that climbs inside", more: []tar.Header{entry(tar.TypeReg, "usr/../../evil")}, err: "leads out"},
		{name: "an absolute name", more: []tar.Header{entry(tar.TypeReg, "/etc/evil")}, err: "leads out"},
		{name: "a link that climbs", more: []tar.Header{linkTo(tar.TypeSymlink, "./usr/evil", "../../etc")},
			err: "leads out"},
		{name: "a hard link that climbs", more: []tar.Header{linkTo(tar.TypeLink, "./evil", "../etc/passwd")},
			err: "leads out"},
		{name: "an absolute hard link", more: []tar.Header{linkTo(tar.TypeLink, "./evil", "/etc/passwd")}, err: "leads out"},
		{name: "a hard link to nothing", more: []tar.Header{linkTo(tar.TypeLink, "./evil", "etc/passwd")},
			err: "does not exist"},
		{name: "a name through a link", more: []tar.Header{linkTo(tar.TypeSymlink, "./l", "/etc"),
			entry(tar.TypeReg, "./l/passwd")}, err: "leads through the link l -> /etc"},
		{name: "a image.Whiteout", more: []tar.Header{entry(tar.TypeReg, "./etc/.wh.passwd")},
			err: "reserved in image layers"},
		{name: "an image's archive", more: []tar.Header{entry(tar.TypeReg, "manifest.json")}, err: "an image's archive"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "r.tar")
			if err := os.WriteFile(file, tarOf(t, append(slices.Clone(system), test.more...)...), 0o600); err != nil {
				t.Fatal(err)
			}
			err := (&rootfs{file: file}).write(context.Background(), io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%v, want %q", err, test.err)
			}
		})
	}
	for name, data := range map[string][]byte{
		"it is not a tar archive": []byte("text, and no archive\n"),
		"it holds no file":        tarOf(t),
		"it holds no /usr":        tarOf(t, entry(tar.TypeReg, "rootfs/etc/passwd")),
	} {
		file := filepath.Join(t.TempDir(), "r.tar")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (&rootfs{file: file}).write(context.Background(), io.Discard); err == nil ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
}

// TestRootfsLayers holds what becomes of an archive and a toolchain.
func TestRootfsLayers(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(tarOf(t, append(slices.Clone(system),
		entry(tar.TypeDir, "./dev/"), entry(tar.TypeChar, "./dev/null"), entry(tar.TypeChar, "./usr/device"),
		entry(tar.TypeReg, "./usr/bin/sh"), linkTo(tar.TypeLink, "./usr/bin/rbash", "./usr/bin/bash"),
		linkTo(tar.TypeSymlink, "./etc/alternative", "/usr/bin/bash"),
		entry(tar.TypeDir, "./usr/local/"), entry(tar.TypeDir, "./usr/local/go/"),
		entry(tar.TypeReg, "./usr/local/go/VERSION"),
	)...))
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "r.tar.gz")
	if err := os.WriteFile(file, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	below := &rootfs{file: file, without: "usr/local/go"}
	var lower, again, upper bytes.Buffer
	if err := errors.Join(below.write(context.Background(), &lower),
		below.write(context.Background(), &again)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(lower.Bytes(), again.Bytes()) {
		t.Error("the same archive made two layers")
	}
	want := "usr/ usr/bin/ etc/ usr/bin/bash bin dev/ usr/bin/sh usr/bin/rbash etc/alternative usr/local/"
	if got := strings.Join(names(t, lower.Bytes()), " "); got != want {
		t.Errorf("the layer holds\n%s, want\n%s", got, want)
	}
	if below.dropped != 1 {
		t.Errorf("%d devices dropped, want 1", below.dropped)
	}

	version, _ := golang.ParseVersion("go1.4.3")
	toolchain := goLayer{version: version, below: below,
		directories: []Directory{{"/tmp.small", 0o777 | fs.ModeSticky}, {"/etc", 0o755}, {"/usr/local/src", 0o755}},
		files: func(_ context.Context, visit func(string, bool, int64, io.Reader) error) error {
			return errors.Join(
				visit("VERSION", false, 1, strings.NewReader("x")), visit("bin/go", true, 1, strings.NewReader("x")),
				visit("pkg/linux_amd64/fmt.a", false, 1, strings.NewReader("x")))
		}}
	if err := toolchain.write(context.Background(), &upper); err != nil {
		t.Fatal(err)
	}
	want = "usr/ usr/local/ usr/local/go/ usr/local/go/VERSION usr/local/go/bin/ usr/local/go/bin/go usr/local/go/pkg/ " +
		"usr/local/go/pkg/linux_amd64/ usr/local/go/pkg/linux_amd64/fmt.a usr/src/ usr/src/go go/ go/src/ go/bin/ " +
		"tmp.small/ etc/ usr/local/src/"
	if got := strings.Join(names(t, upper.Bytes()), " "); got != want {
		t.Errorf("the toolchain's layer holds\n%s, want\n%s", got, want)
	}
	headers := map[string]*tar.Header{}
	for r := tar.NewReader(&upper); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		headers[h.Name] = h
	}
	if h := headers["usr/local/go/bin/go"]; h.Mode != 0o755 {
		t.Errorf("bin/go has mode %o", h.Mode)
	}
	if h := headers["tmp.small/"]; h.Mode != 0o1777 {
		t.Errorf("/tmp.small has mode %o", h.Mode)
	}
	if !headers["usr/local/go/pkg/linux_amd64/fmt.a"].ModTime.After(headers["usr/local/go/VERSION"].ModTime) {
		t.Error("the compiled standard library is not newer than its sources")
	}
}

func names(t *testing.T, layer []byte) []string {
	t.Helper()
	var list []string
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uname != "" {
			t.Errorf("%s has an owner's name", h.Name)
		}
		list = append(list, h.Name)
	}
}

func FuzzLayerName(f *testing.F) {
	f.Add("./usr/bin/env")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, name string) {
		clean, err := layerName(name)
		if err == nil && (strings.HasPrefix(clean, "/") || clean == ".." || strings.HasPrefix(clean, "../") ||
			strings.Contains(clean, "/../")) {
			t.Errorf("%q became %q", name, clean)
		}
	})
}
