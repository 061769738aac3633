package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// Origin records where an image in the store came from. It is kept with the image.
type Origin struct {
	// Name is the name it was provided under.
	Name string `json:"name"`
	// Source is the image reference it was copied from, with its transport, as
	// in docker://registry.example/x/kube-cross:v1.4.2-1.
	Source string `json:"source"`
	// Digest is that of the manifest copied, as the source had it.
	Digest digest.Digest `json:"digest"`
	// Index is the digest of the list of platforms the manifest was chosen
	// from, empty when the source had no list.
	Index digest.Digest `json:"index,omitempty"`
	// Signed says that the policy required a signature, and it was verified.
	Signed bool `json:"signed,omitempty"`
	// Time is when it was copied, in UTC, to the second.
	Time time.Time `json:"time"`
}

const originRecord = "origin"

// ReadOrigin returns where an image of the store came from; false when kbuild did
// not pull it.
func ReadOrigin(store *storage.Store, id string) (Origin, bool, error) {
	data, err := store.Record(id, originRecord)
	if errors.Is(err, storage.ErrNotFound) {
		return Origin{}, false, nil
	}
	if err != nil {
		return Origin{}, false, err
	}
	var origin Origin
	if err := json.Unmarshal(data, &origin); err != nil {
		return Origin{}, false, fmt.Errorf("origin of image %s: %w", id, err)
	}
	origin.Source = fromText(origin.Source)
	return origin, true, nil
}

// RecordOrigin records that an image of the store was made here, and of what; see
// [Origin].
func RecordOrigin(store *storage.Store, img storage.Image, name reference.Named, source string, now time.Time) error {
	return writeOrigin(store, img.ID, Origin{
		Name: name.String(), Source: source, Digest: img.Digest, Time: now.UTC().Truncate(time.Second),
	})
}

func writeOrigin(store *storage.Store, id string, origin Origin) error {
	origin.Source = toText(origin.Source)
	data, err := json.Marshal(origin)
	if err != nil {
		return fmt.Errorf("origin of image %s: %w", id, err)
	}
	return store.SetRecord(id, originRecord, data)
}
