package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containers/buildah"
	"github.com/containers/buildah/define"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage"
	"github.com/opencontainers/go-digest"
)

// assembly is one making of a kube-build image.
//
// The tree's Dockerfile ends with adding the archive of the sources. Through
// that the sources would be packed, compressed, unpacked, compared, packed and
// unpacked again. So the steps before it make a scaffold, and the sources are a
// layer written straight from the tree on top of it. Where the store still has
// the image of the tree as it was before, the layer holds what changed since,
// on top of that image.
type assembly struct {
	AssembleOptions
	store   *storage.Store
	content digest.Digest // label
}

// madeRecord is the key under which the store keeps what an image was made
// from, with the image.
const madeRecord = "made"

// made is what the next assembly needs to know of an image.
type made struct {
	Scaffold string // identifies the layers below the sources
	Parents  []dirEntry
	Version  string
	Sources  []byte // kube.Manifest, marshalled
	Layers   int    // of sources
}

const (
	// maxLayers of sources on top of each other; then they are one again.
	// The kernel's overlay takes 500, an old one's mount options 128.
	maxLayers = 24
	// maxChanged entries in a layer of changes; more are not worth it.
	maxChanged = 1000
)

// assemble makes the image and returns its id. It has no name yet.
func (a assembly) assemble(ctx context.Context) (string, error) {
	dockerfile, err := os.ReadFile(filepath.Join(a.Context.Dir, "Dockerfile"))
	if err != nil {
		return "", err
	}
	// Its names come when all of it is on the disk, see [storage.Store.AddNames].
	if err := a.store.BeginLayers(); err != nil {
		return "", err
	}
	scaffold, ok := cutSources(dockerfile, a.Tree.Recipe)
	if !ok {
		return a.whole(ctx)
	}
	h := sha256.New()
	r := a.Tree.Recipe
	fmt.Fprintf(h, "%s %q %q %s %q %q", a.Base.ID, dockerfile, r.SourceList, r.SourceFilter, r.BuildArgs, a.Context.Files)
	key := hex.EncodeToString(h.Sum(nil))
	if id, ok, err := a.onPrevious(ctx, key); err != nil || ok {
		return id, err
	}
	return a.onScaffold(ctx, key, scaffold)
}

// cutSources takes the last instruction off a Dockerfile, if it is the one that
// adds the archive to the working directory. Where upstream copies the sources
// into a container later, no instruction does.
func cutSources(dockerfile []byte, r kube.Recipe) ([]byte, bool) {
	if r.Way == kube.WaySync {
		return dockerfile, true
	}
	text := strings.TrimRight(string(dockerfile), " \t\n")
	start := strings.LastIndexByte(text, '\n') + 1
	fields := strings.Fields(text[start:])
	before := strings.TrimRight(text[:start], " \t\n")
	if len(fields) != 3 || strings.ToUpper(fields[0]) != "ADD" || fields[1] != r.Archive ||
		path.Clean(fields[2]) != r.Workdir || strings.HasSuffix(before, "\\") {
		return nil, false
	}
	return dockerfile[:start], true
}

// onPrevious puts a layer of what changed on an image made before: the tree's
// own last one, or that of another tree of the same level of trust, such as another
// clone.
// ok is false when there is none, or it is too far away.
func (a assembly) onPrevious(ctx context.Context, key string) (id string, ok bool, err error) {
	previous, m, err := a.previous(key)
	if err != nil || previous.ID == "" {
		return "", false, err
	}
	before, err := sources.UnmarshalManifest(m.Sources)
	if err != nil {
		return "", false, nil
	}
	layer := sourceLayer{tree: a.Tree, parents: m.Parents}
	layer.changed, layer.gone = sources.Diff(before, a.Sources)
	if len(layer.changed)+len(layer.gone) > maxChanged {
		return "", false, nil
	}
	if v := string(a.Version.File()); v != m.Version {
		layer.version = []byte(v)
	}
	b, err := a.container(ctx, previous.ID)
	if err != nil {
		return "", false, nil // its own tree's kbuild may just have replaced it
	}
	defer func() { err = errors.Join(err, b.Delete()) }()
	history := fmt.Sprintf("changes of %s since %s", sourcesName(a.Tree.Recipe), previous.ID[:12])
	id, err = a.commit(ctx, b, layer, m, history)
	return id, true, err
}

// previous finds the image to put changes on: the tree's own before others, the
// newest of the others first.
func (a assembly) previous(key string) (storage.Image, made, error) {
	images, err := a.store.Images()
	if err != nil {
		return storage.Image{}, made{}, err
	}
	var best storage.Image
	var bestMade made
	var bestTime time.Time
	for _, img := range images {
		p, _, err := readProvenance(a.store, img.ID)
		if err != nil {
			return storage.Image{}, made{}, err
		}
		if !slices.ContainsFunc(p.Makers, func(m Maker) bool { return m.Level == a.Maker.Level }) {
			continue
		}
		data, err := a.store.Record(img.ID, madeRecord)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return storage.Image{}, made{}, err
		}
		var m made
		if err := json.Unmarshal(data, &m); err != nil || m.Scaffold != key || m.Layers >= maxLayers {
			continue
		}
		if slices.Contains(p.Makers, a.Maker) {
			return img, m, nil
		}
		if t := Created(a.store, img); best.ID == "" || t.After(bestTime) {
			best, bestMade, bestTime = img, m, t
		}
	}
	return best, bestMade, nil
}

// onScaffold runs the Dockerfile but for its last instruction, and puts a layer
// of all the sources on that.
func (a assembly) onScaffold(ctx context.Context, key string, dockerfile []byte) (id string, err error) {
	file := filepath.Join(a.Host.Dir, "Dockerfile")
	if err := os.WriteFile(file, dockerfile, 0o600); err != nil {
		return "", err
	}
	// The label makes it this tree's own: another tree's kbuild may be making,
	// and deleting, one of the same content.
	scaffold, err := a.dockerfile(ctx, file, map[string]string{labelTree: a.Maker.Tree})
	if err != nil {
		return "", err
	}
	if err := SetMaker(a.store, scaffold, a.Maker, false); err != nil {
		return "", errors.Join(err, a.store.Delete(scaffold))
	}
	b, err := a.container(ctx, scaffold)
	if err != nil {
		return "", errors.Join(err, a.store.Delete(scaffold))
	}
	defer func() { err = errors.Join(err, b.Delete(), a.store.Delete(scaffold)) }()
	root, err := b.Mount("")
	if err != nil {
		return "", err
	}
	parents, plain, err := parentsOf(root, a.Tree.Recipe.Workdir)
	if err = errors.Join(err, b.Unmount()); err != nil {
		return "", err
	}
	r := a.Tree.Recipe
	m := made{Scaffold: key, Parents: parents}
	layer := sourceLayer{tree: a.Tree, parents: parents, changed: a.Sources}
	switch {
	case plain && r.Way == kube.WaySync:
		layer.version = a.Version.File() // the Dockerfile adds no version file
	case r.Way == kube.WaySync:
		return "", &NoWorkdirError{Dockerfile: r.Dockerfile, Workdir: r.Workdir}
	case !plain:
		return a.whole(ctx)
	}
	return a.commit(ctx, b, layer, m, fmt.Sprintf("ADD %s in %s", sourcesName(r), r.Workdir))
}

// sourcesName returns what the sources are called in an image's history.
func sourcesName(r kube.Recipe) string {
	if r.Archive != "" {
		return r.Archive
	}
	return "sources"
}

// whole runs the whole Dockerfile, which is of a form not known here.
func (a assembly) whole(ctx context.Context) (id string, err error) {
	err = a.Context.WithArchive(ctx, a.Tree.Recipe.Archive, func() error {
		id, err = a.dockerfile(ctx, filepath.Join(a.Context.Dir, "Dockerfile"), a.labels())
		return err
	})
	return id, err
}

// container makes a working container of an image, to be committed.
func (a assembly) container(ctx context.Context, image string) (*buildah.Builder, error) {
	return container.New(ctx, a.store, container.Options{
		Image: image, Tree: a.Maker.Tree, Network: container.NetworkNone, Host: a.Host,
	})
}

// commit makes an image of a container's image and one more layer.
func (a assembly) commit(
	ctx context.Context, b *buildah.Builder, layer sourceLayer, m made, history string,
) (string, error) {
	created := sources.CanonicalTime
	if !layer.empty() {
		file := filepath.Join(a.Host.Dir, "layer.tar")
		if err := layer.write(ctx, file); err != nil {
			return "", err
		}
		defer os.Remove(file) //nolint:errcheck // the whole directory goes after the run
		b.AddAppendedLinkedLayer(&created, history, "", "", file)
		m.Layers++
	}
	for name, value := range a.labels() {
		b.UnsetLabel(name)
		if value != "" {
			b.SetLabel(name, value)
		}
	}
	policy, err := a.Host.PolicyFile()
	if err != nil {
		return "", err
	}
	interim, err := storage.InterimName(a.Maker.Tree)
	if err != nil {
		return "", err
	}
	to, err := a.store.Reference(interim)
	if err != nil {
		return "", err
	}
	id, _, _, err := b.Commit(ctx, to, buildah.CommitOptions{
		PreferredManifestType: define.OCIv1ImageManifest,
		SystemContext:         a.store.SystemContext(a.Host.Dir),
		SignaturePolicyPath:   policy,
		// A HistoryTimestamp would be the time of every file, too, of generated
		// ones among the sources as well: see kube.SourceTime.
		SourceDateEpoch:       &created,
		OmitLayerHistoryEntry: true,
		ReportWriter:          io.Discard,
	})
	if err != nil {
		return "", container.ShortError(err)
	}
	m.Version = string(a.Version.File())
	if m.Sources, err = a.Sources.MarshalBinary(); err != nil {
		return "", err
	}
	data, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	return id, a.store.SetRecord(id, madeRecord, data)
}

// labels returns those of the finished image; it does not have the empty ones.
func (a assembly) labels() map[string]string {
	return map[string]string{
		labelRevision: a.Version.Commit, labelVersion: a.Version.GitVersion, labelTreeState: a.Version.TreeState,
		labelBaseName: a.BaseName.String(), labelBaseDigest: a.Base.Digest.String(),
		labelTree: a.Maker.Tree, labelSources: a.Sources.Digest().String(), labelContext: a.content.String(),
	}
}

// dockerfile runs a Dockerfile in the context directory with buildah, and
// returns the id of the image.
func (a assembly) dockerfile(ctx context.Context, file string, labels map[string]string) (string, error) {
	var output bytes.Buffer
	log := io.Writer(&output)
	if a.Log != nil {
		log = io.MultiWriter(&output, a.Log)
	}
	created := sources.CanonicalTime
	d := container.Dockerfile{
		File: file, Context: a.Context.Dir, From: a.Base.ID, Args: a.Tree.Recipe.BuildArgs,
		Network: a.Network, Proxies: a.Proxies, Time: &created, Tree: a.Maker.Tree, Host: a.Host, Log: log,
	}
	for name, value := range labels {
		if value != "" {
			d.Labels = append(d.Labels, name+"="+value)
		}
	}
	run := a.RunDockerfile
	if run == nil {
		run = func(ctx context.Context, d container.Dockerfile) (string, error) {
			return container.RunDockerfile(ctx, a.store, d)
		}
	}
	id, err := run(ctx, d)
	if err != nil && ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", &DockerfileError{
			Path: filepath.Join(a.Context.Place, "Dockerfile"), Of: a.Tree.Recipe.Dockerfile,
			Err: container.ShortError(err), Said: container.LastLines(output.String(), 12), User: a.baseUser(),
		}
	}
	return id, nil
}

// baseUser returns the user that the base image runs commands as, "" if that is
// root or cannot be told.
func (a assembly) baseUser() string {
	config, err := imageConfig(a.store, a.Base.ID)
	if err != nil || config.byRoot() {
		return ""
	}
	return config.Config.User
}
