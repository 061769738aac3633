package mirror

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	imgspecv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifestType returns the media type of a manifest. What the manifest says of
// itself comes before a header: a registry of static files sends the same
// Content-Type with everything, and the library treats what it does not know as
// a manifest of schema 1. The digest covers the manifest, and no header.
func manifestType(content []byte, header string) string {
	switch header {
	case imgspecv1.MediaTypeImageManifest, imgspecv1.MediaTypeImageIndex, manifest.DockerV2ListMediaType,
		manifest.DockerV2Schema2MediaType, manifest.DockerV2Schema1MediaType, manifest.DockerV2Schema1SignedMediaType:
		var own struct {
			MediaType string `json:"mediaType"`
		}
		if json.Unmarshal(content, &own) != nil || own.MediaType == "" || own.MediaType == header {
			return header
		}
	}
	if guessed := manifest.GuessMIMEType(content); guessed != "" {
		return guessed
	}
	return header
}

// checkManifest returns an error for what is not a manifest: a web page that a
// front end sends with status 200 for every path, or a message.
func checkManifest(content []byte) error {
	var head struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	err := json.Unmarshal(content, &head)
	if err == nil && head.SchemaVersion != 0 {
		return nil
	}
	e := &SourceError{Problem: NotImage, ends: true, cause: err}
	if bytes.HasPrefix(bytes.TrimSpace(content), []byte("<")) {
		e.text = "answers with a web page, not with an image"
	} else {
		e.text = "is not an image: the answer is not a manifest"
	}
	if said := sentence(content); said != "" {
		e.text += ": " + said
	}
	return e
}

// typedSource is a source whose manifests have the right media types. Wrapped, a
// source loses sigstore signatures, so they are verified before.
type typedSource struct{ types.ImageSource }

func (s typedSource) GetManifest(ctx context.Context, instance *digest.Digest) ([]byte, string, error) {
	content, header, err := s.ImageSource.GetManifest(ctx, instance)
	if err != nil {
		return nil, "", err
	}
	return content, manifestType(content, header), nil
}

// typed returns the source for an image that was found there.
func (f found) typed(src types.ImageSource) types.ImageSource {
	if f.mistyped {
		return typedSource{src}
	}
	return src
}
