package mirror

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containers/image/v5/pkg/blobinfocache/none"
	"github.com/containers/image/v5/pkg/compression"
	"github.com/containers/image/v5/types"

	"github.com/kbuild/kbuild/storage"
)

// An image is data of strangers: before it is unpacked it is checked that there
// is room for it, and that its parts are of a size that images have.

const (
	// mostHistory is how many steps a configuration may list: one for each layer
	// and as many again that left none, with some to spare.
	mostHistory = 4 * mostLayers
	// mostSettings is how many variables, labels, volumes and ports it may have,
	// and words in its commands.
	mostSettings = 10_000
	// smallLayer is the size, in bytes, up to which a layer is read through
	// before it is unpacked. Larger ones would take too long, and cannot grow as
	// much in proportion.
	smallLayer = 4 << 20
)

// checkConfig bounds what a configuration lists. Its size in bytes is bounded by
// the library (internal/iolimits).
func checkConfig(data []byte) error {
	var c struct {
		Config struct {
			Env, Entrypoint, Cmd, Shell, OnBuild []json.RawMessage
			Labels, Volumes, ExposedPorts        map[string]json.RawMessage
		} `json:"config"`
		RootFS struct {
			DiffIDs []json.RawMessage `json:"diff_ids"`
		} `json:"rootfs"`
		History []json.RawMessage `json:"history"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("is not an image: configuration: %w", err)
	}
	for what, n := range map[string]int{
		"variables": len(c.Config.Env), "labels": len(c.Config.Labels), "volumes": len(c.Config.Volumes),
		"ports": len(c.Config.ExposedPorts), "triggers": len(c.Config.OnBuild),
		"words in its command": len(c.Config.Entrypoint) + len(c.Config.Cmd) + len(c.Config.Shell),
	} {
		if n > mostSettings {
			return fmt.Errorf("is not accepted: its configuration has %d %s, more than %d", n, what, mostSettings)
		}
	}
	if n := len(c.History); n > mostHistory {
		return fmt.Errorf("is not accepted: its history has %d steps, more than %d", n, mostHistory)
	}
	if n := len(c.RootFS.DiffIDs); n > mostLayers {
		return fmt.Errorf("is not accepted: its configuration has %d layers, and a store holds at most %d", n, mostLayers)
	}
	return nil
}

// needs returns how many bytes an image needs in the store at least: its layers, which
// are not smaller once they are unpacked, and until then those of a registry are
// kept there, too. Those that the store has are free.
func (p *puller) needs(candidate Source, f found) int64 {
	need, parent := int64(0), ""
	for i, blob := range f.blobs {
		if i < len(f.layers) {
			if parent = storage.LayerID(parent, f.layers[i]); p.store.HasLayer(parent) {
				continue
			}
		}
		need += max(blob.Size, 0)
		if candidate.transport == transportDocker {
			need += max(blob.Size-p.kept.size(blob.Digest), 0)
		}
	}
	return need
}

// surveyAll surveys the small layers of a source on this host.
func (p *puller) surveyAll(ctx context.Context, src types.ImageSource, f found) error {
	for _, info := range f.blobs {
		if info.Size > smallLayer || info.Size < 0 {
			continue
		}
		blob, _, err := src.GetBlob(ctx, info, none.NoCache)
		if err != nil {
			return err
		}
		err = survey(ctx, io.LimitReader(blob, smallLayer), p.store.Root())
		if err := errors.Join(err, blob.Close()); err != nil {
			return fmt.Errorf("layer %s: %w", info.Digest, err)
		}
	}
	return nil
}

// survey reads a small layer through and checks that what it unpacks to fits into
// the store. A few hundred kilobytes can unpack to any size, and list sparse
// parts that take more memory than a machine has (CVE-2025-58183): archive/tar
// refuses those. What is not an archive at all is for the store to say.
func survey(ctx context.Context, compressed io.Reader, dir string) error {
	stream, _, err := compression.AutoDecompress(compressed)
	if err != nil {
		return nil
	}
	defer stream.Close()
	size, free, err := int64(0), int64(0), error(nil)
	if free, err = freeSpace(dir); err != nil {
		return err
	}
	raw := &counter{Writer: io.Discard}
	archive := tar.NewReader(io.TeeReader(stream, raw))
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := archive.Next()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case errors.Is(err, tar.ErrFieldTooLong), strings.Contains(err.Error(), "sparse"):
			return fmt.Errorf("is not accepted: %w", err)
		default:
			return nil // for the store to say
		}
		if size += header.Size; size < 0 || size > free || raw.n > free {
			return &SpaceError{Dir: dir, Need: max(size, raw.n), Free: free}
		}
	}
}
