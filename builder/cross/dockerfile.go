package cross

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage"
	"github.com/opencontainers/go-digest"
)

// Dockerfile is a base image made by the tree's own Dockerfile of it.
type Dockerfile struct {
	Tree kube.Tree
	// Dockerfile is the text, with ids in the place of the images that it
	// begins with.
	Dockerfile []byte
	// Proxies are variables that its commands are given, NAME=value. They are
	// part neither of the image's configuration nor of its history.
	Proxies []string
	// TreeID is the tree's id of kbuild's own.
	TreeID string
	Host   container.Host
	// Step is called with the title of each step that begins.
	Step func(title string)
}

// dir returns the build context.
func (c Dockerfile) dir() string {
	return filepath.Join(c.Tree.Root, filepath.Dir(filepath.FromSlash(c.Tree.Recipe.Dockerfile)))
}

// Inputs returns the digest of all the image is made from, but for what its commands
// download.
func (c Dockerfile) Inputs() (digest.Digest, error) {
	h := sha256.New()
	fmt.Fprintf(h, "dockerfile 1\n%q\n", c.Dockerfile)
	if err := contextFiles(c.dir(), h); err != nil {
		return "", fmt.Errorf("read the context of %s: %w", c.Tree.Recipe.CrossDockerfile, err)
	}
	return digest.NewDigest(digest.SHA256, h), nil
}

// Assemble runs the Dockerfile with buildah, with the host's network, and
// returns the image, which has no name. It never pulls.
func (c Dockerfile) Assemble(ctx context.Context, store *storage.Store, inputs digest.Digest) (storage.Image, error) {
	file := filepath.Join(c.Host.Dir, "Dockerfile.cross")
	if err := os.WriteFile(file, c.Dockerfile, 0o600); err != nil {
		return storage.Image{}, err
	}
	return runFile(ctx, store, c.Tree.Recipe.CrossDockerfile, container.Dockerfile{
		File: file, Context: c.dir(), Args: c.Tree.Recipe.BuildArgs, Labels: []string{labelCross + "=" + inputs.String()},
		Network: container.NetworkHost, Proxies: c.Proxies, Tree: c.TreeID, Host: c.Host,
	}, c.Step)
}

// runFile runs a Dockerfile, called what, and returns the image it makes. step is called
// with the title of each step that begins. Files keep the times they are written at:
// Go before 1.10 judges by them.
func runFile(
	ctx context.Context, store *storage.Store, what string, d container.Dockerfile, step func(title string),
) (storage.Image, error) {
	output := &stepLog{begin: step}
	d.Log = output
	id, err := container.RunDockerfile(ctx, store, d)
	if ctx.Err() != nil {
		return storage.Image{}, ctx.Err()
	}
	if err != nil {
		return storage.Image{}, explain(what, err, output)
	}
	return store.LookupID(id)
}

// Proxies returns the proxies for the commands of a base image's Dockerfile, as
// NAME=value: of KUBE_BUILD_HTTP_PROXY, KUBERNETES_HTTP_PROXY, http_proxy and
// HTTP_PROXY the first that is set, and so for HTTPS and NO. User and password
// are left out: the commands could write them into the image.
func Proxies(getenv func(string) string) []string {
	var list []string
	for _, kind := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		lower := strings.ToLower(kind)
		for _, name := range []string{"KUBE_BUILD_" + kind, "KUBERNETES_" + kind, lower, kind} {
			if value := kube.WithoutCredentials(getenv(name)); value != "" {
				// Programs differ in which of the two they read.
				list = append(list, lower+"="+value, kind+"="+value)
				break
			}
		}
	}
	return list
}
