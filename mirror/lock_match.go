package mirror

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containers/image/v5/docker/reference"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// Match is how an image was found to be the locked one.
type Match int

const (
	// NoLock: there was no entry to compare the image with.
	NoLock Match = iota
	// ByManifest: it is the very manifest.
	ByManifest
	// ByLayers: the manifest differs, layers and configuration are the same: it is
	// the image in another format, or compressed differently.
	ByLayers
)

// LockError reports that an image is not the locked one.
type LockError struct {
	own
	Entry LockEntry
	// Has is the digest of the manifest found.
	Has digest.Digest
	// Why is what else differs, where there is no locked manifest to name or the
	// layers could have matched.
	Why string
}

func (e *LockError) Error() string {
	want := "the layers in " + LockFile
	if e.Entry.Manifest != "" {
		want = e.Entry.Manifest.String()
	}
	text := fmt.Sprintf("has %s, %s has %s", e.Has, LockFile, want)
	if e.Why != "" {
		text += " (" + e.Why + ")"
	}
	return text
}

// identity is what an image is, as far as it is known.
type identity struct {
	manifest digest.Digest
	madeUp   bool // the manifest is not the image's own
	index    digest.Digest
	config   digest.Digest
	layers   []digest.Digest
}

// entry returns the lock's entry for an image.
func (i identity) entry(name reference.Named, p Platform) LockEntry {
	e := LockEntry{
		Name: name.String(), Platform: p,
		Index: i.index, Manifest: i.manifest, Config: i.config, Layers: i.layers,
	}
	if i.madeUp {
		e.Index, e.Manifest = "", ""
	}
	if len(e.Layers) == 0 {
		e.Config = ""
	}
	return e
}

// match compares an image with the entry.
func (e LockEntry) match(i identity) (Match, error) {
	if e.Manifest != "" && e.Manifest == i.manifest {
		return ByManifest, nil
	}
	wrong := &LockError{Entry: e, Has: i.manifest}
	switch {
	case len(e.Layers) == 0 || len(i.layers) == 0:
	case !slices.Equal(e.Layers, i.layers):
		wrong.Why = "the layers differ, too"
	case e.Config != i.config:
		wrong.Why = "the layers are the same, the settings of the container differ"
	default:
		return ByLayers, nil
	}
	return NoLock, wrong
}

// MatchStored compares an image of the store with a lock's entry: by the manifest
// it was copied with, else by its layers. A mismatch is a [*LockError].
func MatchStored(store *storage.Store, img storage.Image, e LockEntry) (Match, error) {
	i, err := storedIdentity(store, img)
	if err != nil {
		return NoLock, err
	}
	return e.match(i)
}

// LockStored returns the lock's entry for an image that the store has under a
// name, from what was recorded when it was copied.
func LockStored(store *storage.Store, img storage.Image, name reference.Named, platform Platform) (LockEntry, error) {
	i, err := storedIdentity(store, img)
	if err != nil {
		return LockEntry{}, err
	}
	e := i.entry(reference.TagNameOnly(name), platform.OrHost())
	if e.Manifest == "" && len(e.Layers) == 0 {
		return LockEntry{}, fmt.Errorf("image %s has neither a manifest of its own nor known layers", img.ID)
	}
	return e, nil
}

// storedIdentity identifies an image of the store. The store's own manifest may be
// a converted one; the origin has that of the source.
func storedIdentity(store *storage.Store, img storage.Image) (identity, error) {
	origin, known, err := ReadOrigin(store, img.ID)
	if err != nil {
		return identity{}, err
	}
	i := identity{manifest: img.Digest, madeUp: true}
	if known {
		i.manifest, i.index = origin.Digest, origin.Index
		transport, _, _ := strings.Cut(origin.Source, ":")
		i.madeUp = transport == transportDockerArchive || transport == transportStorage
	}
	if i.layers, err = store.DiffIDs(img.ID); err != nil {
		return identity{}, err
	}
	data, err := store.Config(img.ID)
	if err != nil {
		return identity{}, err
	}
	if i.config, err = runDigest(data); err != nil {
		return identity{}, fmt.Errorf("configuration of image %s: %w", img.ID, err)
	}
	return i, nil
}

// runDigest returns the digest of what a configuration says about how containers
// of the image run. The bytes of a configuration change when an image is
// converted, and the digests of the layers do not cover it.
func runDigest(config []byte) (digest.Digest, error) {
	// Shell and OnBuild are Docker's. An image that lost them in a conversion is
	// no longer the same.
	var c struct {
		Config struct {
			User, WorkingDir                     string
			Env, Entrypoint, Cmd, Shell, OnBuild []string
		} `json:"config"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return "", err
	}
	run := c.Config
	// An empty list and none mean the same, and encode to the same.
	canonical := struct {
		User       string   `json:",omitempty"`
		Env        []string `json:",omitempty"`
		Entrypoint []string `json:",omitempty"`
		Cmd        []string `json:",omitempty"`
		WorkingDir string   `json:",omitempty"`
		Shell      []string `json:",omitempty"`
		OnBuild    []string `json:",omitempty"`
	}{run.User, run.Env, run.Entrypoint, run.Cmd, run.WorkingDir, run.Shell, run.OnBuild}
	data, err := json.Marshal(canonical)
	if err != nil {
		return "", err
	}
	return digest.FromBytes(data), nil
}
