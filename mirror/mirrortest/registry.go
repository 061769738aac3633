// Package mirrortest stands in for what a mirror is outside of a test: a
// registry that serves images, and a small kube-cross to be served.
//
// It knows nothing of stores, of Kubernetes trees or of how kbuild copies an
// image.
package mirrortest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Registry is a registry on this host's loopback that anybody on the host may
// read and write, over HTTP. What it holds is gone once it is closed.
type Registry struct {
	host   string
	dir    string
	blobs  registry.BlobHandler
	server *http.Server
	done   chan struct{} // closed once server has ended, with the reason in ended
	ended  error
}

// Serve starts an empty registry on a free port of 127.0.0.1. The caller has to
// close it.
func Serve() (*Registry, error) {
	return ServeThrough(nil)
}

// ServeThrough is Serve with wrap around the registry's handler, for a registry
// that refuses, is slow or lies. A nil wrap changes nothing.
func ServeThrough(wrap func(http.Handler) http.Handler) (*Registry, error) {
	// Layers are kept on disk: a kube-cross is larger than what a small machine
	// has to spare in memory. That rules out /tmp as well, often a tmpfs.
	parent := os.Getenv("TMPDIR")
	if parent == "" {
		parent = "/var/tmp"
	}
	dir, err := os.MkdirTemp(parent, "kbuild-registry-")
	if err != nil {
		return nil, fmt.Errorf("serve registry: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("serve registry: %w", err)
	}
	quiet := log.New(io.Discard, "", 0)
	blobs := registry.NewDiskBlobHandler(dir)
	handler := registry.New(registry.Logger(quiet), registry.WithBlobHandler(blobs))
	if wrap != nil {
		handler = wrap(handler)
	}
	r := &Registry{
		host:   listener.Addr().String(),
		dir:    dir,
		blobs:  blobs,
		server: &http.Server{Handler: handler, ErrorLog: quiet},
		done:   make(chan struct{}),
	}
	go func() {
		defer close(r.done)
		r.ended = r.server.Serve(listener)
	}()
	return r, nil
}

// Host returns the registry's address, such as "127.0.0.1:40123".
func (r *Registry) Host() string {
	return r.host
}

// Close ends the registry, cuts off who is still reading and removes what was
// kept. Closing it again does nothing.
func (r *Registry) Close() error {
	err := r.server.Close()
	<-r.done
	if !errors.Is(r.ended, http.ErrServerClosed) {
		err = errors.Join(err, r.ended)
	}
	if err := errors.Join(err, os.RemoveAll(r.dir)); err != nil {
		return fmt.Errorf("close registry %s: %w", r.host, err)
	}
	return nil
}

// Push stores img under repoTag, such as "xuxinkun/kubernetes:v1.4.2-1".
func (r *Registry) Push(repoTag string, img v1.Image) error {
	if err := r.push(repoTag, img); err != nil {
		return fmt.Errorf("push %s to %s: %w", repoTag, r.host, err)
	}
	return nil
}

func (r *Registry) push(repoTag string, img v1.Image) error {
	ref, err := name.NewTag(r.host+"/"+repoTag, name.StrictValidation, name.Insecure)
	if err != nil {
		return err
	}
	// Uploaded over HTTP a layer would be held in memory as a whole, by the
	// registry's upload handler; so only the manifest goes that way.
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	repository := ref.Context().RepositoryStr()
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return err
		}
		if err := r.put(repository, digest, layer.Compressed); err != nil {
			return err
		}
	}
	digest, err := img.ConfigName()
	if err != nil {
		return err
	}
	if err := r.put(repository, digest, func() (io.ReadCloser, error) {
		config, err := img.RawConfigFile()
		return io.NopCloser(bytes.NewReader(config)), err
	}); err != nil {
		return err
	}
	return remote.Put(ref, img)
}

// put stores a blob unless the registry has it. A blob with another digest than
// promised is refused.
func (r *Registry) put(repository string, digest v1.Hash, open func() (io.ReadCloser, error)) (err error) {
	ctx := context.Background()
	blobs, ok := r.blobs.(interface {
		registry.BlobStatHandler
		registry.BlobPutHandler
		registry.BlobDeleteHandler
	})
	if !ok {
		return errors.New("the registry takes no blobs")
	}
	if _, err := blobs.Stat(ctx, repository, digest); err == nil {
		return nil
	}
	content, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	sum := sha256.New()
	if err := blobs.Put(ctx, repository, digest, io.NopCloser(io.TeeReader(content, sum))); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest.Hex {
		return errors.Join(fmt.Errorf("blob %s arrived as sha256:%s", digest, got), blobs.Delete(ctx, repository, digest))
	}
	return nil
}
