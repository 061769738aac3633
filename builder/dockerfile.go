package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
)

// A tree's Dockerfile is run by buildah in a worker of its own that has no
// network. What may be in it is checked before, but a parser that understands
// it otherwise than the check does, or a step that the check lets through, then
// still reaches nothing: ADD of buildah 1.41 clones whatever it takes for a git
// repository (CVE-2026-44517).

// dockerfileOrder is what that worker does.
type dockerfileOrder struct {
	Settings
	Dockerfile container.Dockerfile
}

// dockerfileResult is what came of it.
type dockerfileResult struct {
	ID    string // of the image
	Error string // of buildah; "" if there is an image
}

// runDockerfile is [container.RunDockerfile] in a worker without a network, for
// a Dockerfile that has none.
func (b *build) runDockerfile(ctx context.Context, d container.Dockerfile) (id string, err error) {
	if d.Network == container.NetworkHost {
		return container.RunDockerfile(ctx, b.store, d)
	}
	// An error with a type cannot come back from the other process.
	if err := container.CheckDockerfile(b.store, d); err != nil {
		return "", err
	}
	said, err := b.temporary("dockerfile-said-")
	if err != nil {
		return "", err
	}
	defer said.Close()
	result, err := b.temporary("dockerfile-result-")
	if err != nil {
		return "", err
	}
	defer result.Close()

	log := d.Log
	d.Log = nil
	apart := begin(ctx, untimed{b.Reporter}, namespace.Options{Network: true}, said, result)
	defer apart.Close()
	status, err := apart.do(ctx, "dockerfile", dockerfileOrder{b.Settings, d})
	if err != nil {
		return "", err
	}
	if status != 0 {
		return "", fmt.Errorf("run the Dockerfile: the worker's exit status is %d", status)
	}
	if log != nil {
		if _, err := io.Copy(log, io.NewSectionReader(said, 0, maxSaid)); err != nil {
			return "", err
		}
	}
	var r dockerfileResult
	if err := json.NewDecoder(io.NewSectionReader(result, 0, maxSaid)).Decode(&r); err != nil {
		return "", fmt.Errorf("read what came of the Dockerfile: %w", err)
	}
	if r.Error != "" {
		return "", errors.New(r.Error)
	}
	return r.ID, nil
}

// maxSaid bounds, in bytes, what is read of what the Dockerfile's steps print.
const maxSaid = 16 << 20

// temporary makes a file of this run, which goes with its directory.
func (b *build) temporary(pattern string) (*os.File, error) {
	f, err := os.CreateTemp(b.host.Dir, pattern)
	if err != nil {
		return nil, fmt.Errorf("run the Dockerfile: %w", err)
	}
	return f, nil
}

// untimed is a Reporter whose worker tells no timings: it is a part of a run.
type untimed struct{ Reporter }

func (u untimed) Handover() Reporting {
	r := u.Reporter.Handover()
	r.Timings = false
	return r
}

// dockerfileInside is the worker's part. The store is the one that the other
// worker has open, and that is making the image, so nothing is looked for in it
// that an earlier run may have left.
func dockerfileInside(ctx context.Context, w *worker, o dockerfileOrder) (status int, err error) {
	if len(w.files) != 2 {
		return 0, fmt.Errorf("run the Dockerfile: %d files came with the order, not 2", len(w.files))
	}
	store, err := storage.Open(o.Store)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	store.MakeFor(o.Dockerfile.Tree)
	o.Dockerfile.Log = w.files[0]
	var r dockerfileResult
	if r.ID, err = container.RunDockerfile(ctx, store, o.Dockerfile); err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		r.Error = container.ShortError(err).Error()
	}
	return 0, json.NewEncoder(w.files[1]).Encode(r)
}
