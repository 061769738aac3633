package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containers/image/v5/copy"
	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"
)

// held is a reference whose source is open already, so that an archive is not
// unpacked, nor a manifest fetched, once to inspect it and again to copy it. The
// source itself is passed on, not wrapped: a wrapped one loses signatures.
type held struct {
	types.ImageReference
	source types.ImageSource
	taken  bool
}

func (h *held) NewImageSource(context.Context, *types.SystemContext) (types.ImageSource, error) {
	if h.taken {
		return nil, errors.New("the image source was already used")
	}
	h.taken = true
	return h.source, nil
}

// close closes the source unless the copy did.
func (h *held) close() error {
	if h.taken {
		return nil
	}
	h.taken = true
	return h.source.Close()
}

// copyImage copies one image and checks that it is the one that was inspected. It
// is the one place where the library's copy.Options of a pull are filled.
func copyImage(ctx context.Context, policy *signature.PolicyContext, to types.ImageReference, from *held,
	sys *types.SystemContext, image found, progress io.Writer) error {
	options := copy.Options{
		ReportWriter:   progress,
		SourceCtx:      sys,
		DestinationCtx: sys,
		// As when the image was chosen to be inspected.
		PreferGzipInstances: types.OptionalBoolFalse,
		PreserveDigests:     image.keeps,
	}
	if image.schema1 {
		// Schema 1 has no configuration, which everything later reads.
		options.ForceManifestMIMEType = manifest.DockerV2Schema2MediaType
	}
	copied, err := copy.Image(ctx, policy, to, from, &options)
	if err != nil || !image.keeps {
		return err
	}
	got, err := manifest.Digest(copied)
	if err != nil {
		return fmt.Errorf("digest of what was copied: %w", err)
	}
	if got != image.digest {
		return &DigestError{Has: got, Want: image.digest}
	}
	return nil
}
