package container

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containers/image/v5/docker/reference"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/kbuild/kbuild/builder/kube/dockerfile"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// What a stranger's Dockerfile may not ask for does not get to buildah, neither
// from its own text nor from the ONBUILD of its base image.
func TestRunDockerfileRefuses(t *testing.T) {
	ctx := context.Background()
	store := storagetest.Open(t)
	registry, err := mirrortest.Serve()
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	goroot := t.TempDir()
	filestest.Write(t, filepath.Join(goroot, "VERSION"), "go1.4.3\n")
	filestest.Write(t, filepath.Join(goroot, "bin/go"), "#!/bin/bash\necho go1.4.3\n")
	filestest.Write(t, filepath.Join(goroot, "src/fmt/doc.go"), "package fmt\n")
	img, err := mirrortest.Cross(mirrortest.CrossOptions{GOROOT: goroot})
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.Config.OnBuild = []string{"RUN true", "ADD https://example.com/x /x"}
	if img, err = mutate.Config(img, config.Config); err != nil {
		t.Fatal(err)
	}
	if err := registry.Push("x/cross:v1", img); err != nil {
		t.Fatal(err)
	}
	name, err := reference.ParseNormalizedNamed("example.com/cross:v1")
	if err != nil {
		t.Fatal(err)
	}
	source, err := mirror.ParseSource(registry.Host() + "/x/cross:v1")
	if err != nil {
		t.Fatal(err)
	}
	base, _, err := mirror.Pull(ctx, store, name, []mirror.Source{source}, mirror.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ text, from, want string }{
		{"FROM x\nADD https://example.com/x /x\n", base.ID, "line 2: ADD copies from the URL"},
		{"FROM x\nCOPY --from=" + name.String() + " /etc /x\n", base.ID, "line 2: COPY has the option"},
		{"FROM x\nUSER y\n", base.ID, "image " + base.ID + ": ONBUILD ADD copies from the URL"},
		{"FROM " + base.ID + "\nUSER y\n", "", "ONBUILD ADD copies from the URL"},
		{"FROM " + name.String() + "\nUSER y\n", "", "line 1: FROM names the image"},
		{"FROM x\nFROM " + base.ID + "\n", base.ID, "line 2: FROM names the image"},
	} {
		file := filepath.Join(t.TempDir(), "Dockerfile")
		if err := os.WriteFile(file, []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := RunDockerfile(ctx, store, Dockerfile{File: file, Context: filepath.Dir(file), From: test.from})
		var forbidden *dockerfile.ForbiddenError
		if !errors.As(err, &forbidden) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}

func TestShortError(t *testing.T) {
	cause := errors.New(`building at STEP "ADD x": {lots:of:struct} copier: put: error writing: no space left on device`)
	if got := ShortError(cause); got.Error() != "put: error writing: no space left on device" || !errors.Is(got, cause) {
		t.Errorf("%v", got)
	}
	plain := errors.New("plain")
	if got := ShortError(plain); got != plain { //nolint:errorlint // that very one
		t.Errorf("%v", got)
	}
}

func TestLastLines(t *testing.T) {
	if got := LastLines("a\nb\nc\n", 2); got != "\n    b\n    c" {
		t.Errorf("%q", got)
	}
	if got := LastLines(" \n", 2); got != "" {
		t.Errorf("%q", got)
	}
}
