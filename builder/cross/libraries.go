package cross

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage"
	"github.com/opencontainers/go-digest"
)

// Libraries is a base image made of a [Rootfs] whose Go, older than 1.5, gets the
// compilers and standard libraries for further platforms, as upstream's own Dockerfile
// makes them.
type Libraries struct {
	Image     string // the id of the one that is added to
	Platforms []kube.Platform
	// TreeID is the tree's id of kbuild's own.
	TreeID string
	Host   container.Host
	// Step is called with the title of each step that begins.
	Step func(title string)
}

// Inputs returns the digest of all the image is made from, of that of the image it
// adds to.
func (c Libraries) Inputs(of digest.Digest) digest.Digest {
	return digest.FromString(fmt.Sprintf("libraries 1\n%s\n%s", of, c.dockerfile("")))
}

// dockerfile is what makes them. Compilers of C of today warn of more than those of
// 2015, which is no error then.
func (c Libraries) dockerfile(image string) string {
	const src = "cd " + GoRoot + "/src && "
	lines := []string{
		"FROM " + image,
		"RUN " + src + `sed -i 's/ -Werror / /' make.bash && sed -i '/^[[:space:]]*"-Werror",$/d' cmd/dist/build.c`,
	}
	for _, p := range c.Platforms {
		lines = append(lines, fmt.Sprintf("RUN %sGOOS=%s GOARCH=%s bash make.bash --no-clean", src, p.OS, p.Arch))
	}
	return strings.Join(lines, "\n") + "\n"
}

// Assemble makes the image, which has no name, in containers without a network.
func (c Libraries) Assemble(ctx context.Context, store *storage.Store, inputs digest.Digest) (storage.Image, error) {
	empty := filepath.Join(c.Host.Dir, "libraries")
	file := filepath.Join(c.Host.Dir, "Dockerfile.libraries")
	if err := os.MkdirAll(empty, 0o700); err != nil {
		return storage.Image{}, err
	}
	if err := os.WriteFile(file, []byte(c.dockerfile(c.Image)), 0o600); err != nil {
		return storage.Image{}, err
	}
	return runFile(ctx, store, "make.bash", container.Dockerfile{
		File: file, Context: empty, Labels: []string{labelCross + "=" + inputs.String()}, Tree: c.TreeID, Host: c.Host,
	}, c.Step)
}
