package image

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/container/containertest"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/golang"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"golang.org/x/sys/unix"
)

// promise is what a tag promises of its own.
func promise(name reference.Named) *kube.GoPromise {
	release, ok := kube.GoPromised(name.String())
	if !ok {
		return nil
	}
	return &kube.GoPromise{Release: release, By: name.(reference.Tagged).Tag()}
}

// TestCheckByFrom holds that an image which has its name on the spot is checked
// against what the tree's own Dockerfile begins with.
func TestCheckByFrom(t *testing.T) {
	name, err := reference.ParseNormalizedNamed("localhost/kube-build:cross")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		promise   kube.GoPromise
		note, err string
	}{
		{promise: kube.GoPromise{Release: golang.Release{Major: 1, Minor: 4}, AnyPatch: true}},
		{promise: kube.GoPromise{Release: golang.Release{Major: 1, Minor: 4, Patch: 2}}, note: "different patch release"},
		{promise: kube.GoPromise{Release: golang.Release{Major: 1, Minor: 5, Patch: 3}, By: "FROM golang:1.5.3"},
			err: "localhost/kube-build:cross has go1.4.3, FROM golang:1.5.3 promises 1.5"},
	} {
		note, err := Base{Version: "go1.4.3"}.Check(name, &test.promise, nil)
		if err != nil && err.Error() != test.err || err == nil && test.err != "" {
			t.Errorf("%v, want %q", err, test.err)
		}
		if !strings.Contains(note, test.note) || (note == "") != (test.note == "") {
			t.Errorf("note %q, want %q", note, test.note)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		tag, version string
		tools        []string
		note, err    string
	}{
		{"v1.4.2-1", "go1.4.2", []string{"bash"}, "", ""},
		{"v1.4.2-1", "go1.4.3", []string{"bash"}, "has go1.4.3, v1.4.2-1 promises 1.4.2: a different patch release, accepted",
			""},
		{"v1.4.2-1", "go1.6.3", []string{"bash"}, "", "has go1.6.3, v1.4.2-1 promises 1.4"},
		{"v1.4.2-1", "", []string{"bash"}, "", "has no Go toolchain"},
		{"v1.4.2-1", "devel", []string{"bash"}, "", `unknown version "devel"`},
		{"v1.4.2-1", "go1.4.2", nil, "", "has no bash, which the tree's scripts run"},
		{"nonsense", "go1.9.7", []string{"bash"}, "", ""},
	} {
		name, err := reference.ParseNormalizedNamed("gcr.io/google_containers/kube-cross:" + test.tag)
		if err != nil {
			t.Fatal(err)
		}
		note, err := Base{Version: test.version, Tools: test.tools}.Check(name, promise(name), []string{"bash"})
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s in %s: error %v, want %q", test.version, test.tag, err, test.err)
		}
		var wrong *WrongBaseError
		if err != nil && (!errors.As(err, &wrong) || wrong.Nameless().Error() != wrong.Reason ||
			!errors.As(wrong.Nameless(), &wrong)) {
			t.Errorf("%v is of no type", err)
		}
		if !strings.HasSuffix(note, test.note) || (note == "") != (test.note == "") {
			t.Errorf("%s in %s: note %q, want %q", test.version, test.tag, note, test.note)
		}
	}
}

// An image's links are read inside the image, also those that are absolute or
// lead above its root.
func TestLookInside(t *testing.T) {
	root := t.TempDir()
	for p, text := range map[string]string{"opt/go/VERSION": "go1.4.3\nmore", "opt/go/bin/go": "x", "usr/bin/dash": "x"} {
		filestest.Write(t, filepath.Join(root, p), text)
		if err := os.Chmod(filepath.Join(root, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "opt/go/pkg/linux_amd64"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"usr/bin/go": "/opt/go/bin/go", "usr/bin/sh": "/usr/bin/dash", "usr/bin/bash": "../../../../../../bin/bash",
		"usr/bin/out": "/etc/passwd", "bin": "usr/bin",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	b := Base{Looked: []string{"sh", "dash", "bash", "out", "nothing"}}
	b.look(root, []string{"PATH=/usr/bin:/bin"}, "amd64")
	if b.Version != "go1.4.3" || b.GoRoot != "/opt/go" || b.CgoStd != "/opt/go/pkg/linux_amd64_cgo" {
		t.Errorf("toolchain %q in %q, std %q", b.Version, b.GoRoot, b.CgoStd)
	}
	if want := []string{"sh", "dash"}; !slices.Equal(b.Tools, want) {
		t.Errorf("tools %v, want %v", b.Tools, want)
	}
}

// Check speaks of everything that is missing, and of the image by its name.
func TestCheckWords(t *testing.T) {
	for image, test := range map[string]struct {
		base Base
		want string
	}{
		"gcr.io/google_containers/kube-cross:v1.4.2-1": {
			Base{Version: "go1.4.2", Tools: []string{"cp"}},
			"gcr.io/google_containers/kube-cross:v1.4.2-1 has no bash, rsync, which the tree's scripts run",
		},
		"registry.k8s.io/build-image/kube-cross:v1.34.0-go1.24.5-bullseye.0": {
			Base{Version: "go1.23.1 X:y", Tools: []string{"cp", "bash", "rsync"}},
			"registry.k8s.io/build-image/kube-cross:v1.34.0-go1.24.5-bullseye.0 has go1.23.1 X:y, v1.34.0-go1.24.5-bullseye.0 " +
				"promises 1.24",
		},
		"example.com/mine":       {Base{Version: "go1.2", Tools: []string{"cp", "bash", "rsync"}}, ""},
		"example.com/mine:v9-go": {Base{}, "example.com/mine:v9-go has no Go toolchain"},
	} {
		name, err := reference.ParseNormalizedNamed(image)
		if err != nil {
			t.Fatal(err)
		}
		_, err = test.base.Check(name, promise(name), []string{"bash", "cp", "rsync"})
		var wrong *WrongBaseError
		if got := fmt.Sprint(err); test.want == "" && err != nil ||
			test.want != "" && (got != test.want || !errors.As(err, &wrong)) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
}

// Where an image says its Go is comes first, then its PATH, then the usual
// places; what is no toolchain there is passed over.
func TestLookForGo(t *testing.T) {
	for _, test := range []struct {
		name  string
		files []string // VERSION files, with their directory in them
		execs []string
		links map[string]string
		env   []string
		want  string
	}{
		{name: "none"},
		{name: "GOROOT", files: []string{"/opt/a", "/usr/local/go"}, env: []string{"GOROOT=/opt/a"}, want: "/opt/a"},
		{name: "GOROOT that is wrong", files: []string{"/usr/local/go"}, env: []string{"GOROOT=/opt/a"},
			want: "/usr/local/go"},
		{name: "PATH", files: []string{"/opt/b", "/usr/local/go"}, execs: []string{"/opt/b/bin/go"},
			env: []string{"PATH=/usr/bin:/opt/b/bin"}, want: "/opt/b"},
		{
			name: "PATH through links", files: []string{"/opt/b"}, execs: []string{"/opt/b/bin/go"},
			links: map[string]string{"/usr/bin/go": "/etc/alternatives/go", "/etc/alternatives/go": "../../opt/b/bin/go"},
			env:   []string{"PATH=/usr/bin"}, want: "/opt/b",
		},
		{name: "no PATH", files: []string{"/usr/local"}, execs: []string{"/usr/local/bin/go"}, want: "/usr/local"},
		{name: "the old place", files: []string{"/usr/src/go"}, want: "/usr/src/go"},
		{name: "a distribution's", files: []string{"/usr/lib/go"}, want: "/usr/lib/go"},
		{name: "a link in a circle", files: []string{"/usr/lib/go"},
			links: map[string]string{"/usr/local/go": "/usr/src/go", "/usr/src/go": "/usr/local/go"}, want: "/usr/lib/go"},
		{name: "a link above the root", links: map[string]string{"/usr/local/go": "../../../../../../../../usr/local/go"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for _, dir := range test.files {
				filestest.Write(t, filepath.Join(root, dir, "VERSION"), dir)
			}
			for _, file := range test.execs {
				filestest.Write(t, filepath.Join(root, file), "")
				if err := os.Chmod(filepath.Join(root, file), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for from, to := range test.links {
				if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(root, from)), 0o755),
					os.Symlink(to, filepath.Join(root, from))); err != nil {
					t.Fatal(err)
				}
			}
			var b Base
			b.look(root, test.env, "amd64")
			if b.GoRoot != test.want || b.Version != test.want {
				t.Errorf("version %q in %q, want %s", b.Version, b.GoRoot, test.want)
			}
		})
	}
}

// A foreign image may have anything where the version should be: reading a
// pipe would never end.
func TestLookAtPipe(t *testing.T) {
	root := t.TempDir()
	filestest.Write(t, filepath.Join(root, "usr/src/go/VERSION"), "go1.4.3")
	if err := os.MkdirAll(filepath.Join(root, "usr/local/go"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(root, "usr/local/go/VERSION"), 0o644); err != nil {
		t.Fatal(err)
	}
	var b Base
	b.look(root, nil, "amd64")
	if b.GoRoot != "/usr/src/go" {
		t.Errorf("%+v", b)
	}
}

func TestLookInto(t *testing.T) {
	store, img := containertest.SmallCross(t)
	tools := []string{"bash", "stat", "cp"}
	for range 2 { // the second time from the record
		base, err := LookInto(store, img, tools)
		if err != nil {
			t.Fatal(err)
		}
		if base.ID != img.ID || base.Version != "go1.4.3" || base.GoRoot != "/usr/local/go" || base.CgoStd != "" {
			t.Errorf("%+v", base)
		}
		if want := []string{"bash", "cp"}; !slices.Equal(base.Tools, want) {
			t.Errorf("tools %v, want %v", base.Tools, want)
		}
		if data, err := store.Record(img.ID, baseRecord); err != nil || !bytes.Contains(data, []byte("go1.4.3")) {
			t.Errorf("record %s, %v", data, err)
		}
	}
	if err := store.SetRecord(img.ID, baseRecord,
		[]byte(`{"version":"go9.9","looked":["bash","stat","cp"]}`)); err != nil {
		t.Fatal(err)
	}
	if base, err := LookInto(store, img, []string{"bash"}); err != nil || base.Version != "go9.9" {
		t.Errorf("%+v, %v; want what is on record", base, err)
	}
	// Of one of these the record does not speak.
	if base, err := LookInto(store, img, []string{"bash", "mkdir"}); err != nil || base.Version != "go1.4.3" {
		t.Errorf("%+v, %v; want a new look", base, err)
	}
	if err := store.SetRecord(img.ID, baseRecord, []byte(`{`)); err != nil {
		t.Fatal(err)
	}
	if base, err := LookInto(store, img, tools); err != nil || base.Version != "go1.4.3" {
		t.Errorf("after a record that cannot be read: %+v, %v", base, err)
	}
	if _, err := LookInto(store, storage.Image{ID: strings.Repeat("0", 64)}, tools); err == nil {
		t.Error("looked into an image that is not there")
	}
	layers, err := store.Unwrap().Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if l.MountCount > 0 {
			t.Errorf("layer %s is still mounted", l.ID)
		}
	}
}

func TestCheckPlatforms(t *testing.T) {
	store, img := containertest.SmallCross(t)
	base, err := LookInto(store, img, nil)
	if err != nil {
		t.Fatal(err)
	}
	name, err := reference.ParseNormalizedNamed("gcr.io/google_containers/kube-cross:v1.4.3-1")
	if err != nil {
		t.Fatal(err)
	}
	arm := []kube.Platform{{OS: "linux", Arch: "arm"}}
	for _, test := range []struct {
		version   string
		platforms []kube.Platform
		refused   bool
	}{
		{"go1.4.3", arm, true},
		{"go1.4.3", nil, false},
		{"go1.5", arm, false},
		{"devel", arm, false}, // of another check
	} {
		base.Version = test.version
		err := CheckPlatforms(store, name, base, test.platforms)
		var wrong *PlatformsError
		if errors.As(err, &wrong) != test.refused || !test.refused && err != nil {
			t.Errorf("%s for %v: %v", test.version, test.platforms, err)
		}
		if test.refused && !slices.Equal(wrong.Platforms, test.platforms) {
			t.Errorf("%s lacks %v, want %v", test.version, wrong.Platforms, test.platforms)
		}
	}
}

func TestByRoot(t *testing.T) {
	for user, want := range map[string]bool{
		"": true, "0": true, "root": true, "0:0": true, "root:root": true, "0:5": true, "1000": false, "build:root": false, "00x": false,
	} {
		var c config
		c.Config.User = user
		if c.byRoot() != want {
			t.Errorf("%q is root: %t", user, !want)
		}
	}
}
