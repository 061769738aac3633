package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/cross"
	"github.com/kbuild/kbuild/builder/cross/toolchain"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/golang"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/opencontainers/go-digest"
)

// maker makes a base image inside the namespaces.
type maker struct {
	shelf
	crossOrder
	worker *worker
}

// A making is one way to make the image.
type making struct {
	inputs digest.Digest // of all it is made of
	source string        // that in words
	// make makes it, without a name. had reports whether the store had an image before.
	make func(ctx context.Context, had func(id string) bool) (storage.Image, error)
}

// provide is the base image that the store has under the name, made now unless
// it is there already.
func (m maker) provide(ctx context.Context) (storage.Image, error) {
	start, name := time.Now(), m.plan.Base.Ref
	held, before, err := m.held(name)
	if err != nil {
		return storage.Image{}, err
	}
	if held.ID != "" && before == "" && !m.Mirrors.Force && !m.isWrong(name, held) {
		from := ""
		if origin, ok, err := mirror.ReadOrigin(m.store, held.ID); err == nil && ok {
			from = ", copied from " + origin.Source
		}
		m.Line(Line{Step: StepCross, Text: fmt.Sprintf("%s is in the store%s: nothing to do", name, from), About: InStore{}})
		return held, m.takeName(held, name)
	}
	making, err := m.making(ctx)
	if err != nil {
		return storage.Image{}, err
	}
	if held.ID != "" && before == making.inputs && !m.Mirrors.Force {
		m.say(StepCross, "%s in the store was made from the same input: nothing to do", name)
		return held, m.takeName(held, name)
	}
	img, err := m.alone(ctx, name, making)
	if err != nil {
		return storage.Image{}, err
	}
	if err := m.accept(name, img); err != nil {
		if img.ID != held.ID {
			err = errors.Join(err, cross.DropSuperseded(m.store, img.ID, m.plan.Level.ID()))
		}
		return storage.Image{}, err
	}
	if err := mirror.RecordOrigin(m.store, img, name, making.source, time.Now()); err != nil {
		return storage.Image{}, err
	}
	if err := m.takeName(img, name); err != nil {
		return storage.Image{}, err
	}
	if held.ID != "" && held.ID != img.ID {
		if err := cross.DropSuperseded(m.store, held.ID, m.plan.Level.ID()); err != nil {
			return storage.Image{}, err
		}
	}
	m.done(StepCross, start, "%s made from %s", name, strings.TrimPrefix(making.source, "kbuild cross "))
	return img, nil
}

// isWrong reports whether an image of the store is not what this tree wants: the
// one of another tree, or a mirror's.
func (m maker) isWrong(name reference.Named, img storage.Image) bool {
	found, _, err := m.look(name, img)
	if err == nil {
		err = image.CheckPlatforms(m.store, name, found, m.For)
	}
	var wrong *image.WrongBaseError
	var lacking *image.PlatformsError
	if errors.As(err, &wrong) || errors.As(err, &lacking) {
		m.warn(StepCross, "the image in the store cannot be used: %v", err)
		return true
	}
	return false
}

// held is the image that has the name, or none, and the digest of what it was
// made of here, or "".
func (m maker) held(name reference.Named) (img storage.Image, inputs digest.Digest, err error) {
	img, err = m.plan.find(m.store, name)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Image{}, "", nil
	}
	if err != nil {
		return storage.Image{}, "", err
	}
	inputs, err = cross.InputsOf(m.store, img)
	return img, inputs, err
}

// alone makes the image while no other kbuild adds one to the store.
func (m maker) alone(ctx context.Context, name reference.Named, way making) (img storage.Image, err error) {
	in, err := m.store.OpenIncoming(ctx, func() {
		m.say(StepCross, "waiting for another kbuild that adds an image to %s", m.store.Root())
	})
	if err != nil {
		return storage.Image{}, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	before, err := m.store.Images()
	if err != nil {
		return storage.Image{}, err
	}
	had := func(id string) bool {
		return slices.ContainsFunc(before, func(b storage.Image) bool { return b.ID == id })
	}
	if img, err = way.make(ctx, had); err != nil {
		return storage.Image{}, err
	}
	return img, image.SetMaker(m.store, img.ID, m.plan.crossMaker(name), had(img.ID))
}

// making says how the image is made.
func (m maker) making(ctx context.Context) (way making, err error) {
	if m.Rootfs == "" {
		return m.ofDockerfile(ctx)
	}
	t := m.Toolchain
	parts := cross.Rootfs{
		Archive: m.Rootfs, Go: goFiles(t), Version: t.Version, Sum: t.Sum, Relocated: t.Relocated,
		Arch: m.Mirrors.Platform.OrHost().Architecture, Environment: m.Outfit.Environment,
		TreeID: m.Plan.treeDir().ID(),
	}
	for _, d := range m.Outfit.Directories {
		parts.Directories = append(parts.Directories, cross.Directory{Path: d.Path, Mode: d.Mode})
	}
	if way.inputs, err = parts.Inputs(ctx); err != nil {
		return making{}, err
	}
	add, inputs := m.libraries(), way.inputs
	if add != nil {
		way.inputs = add.Inputs(inputs)
	}
	name := filepath.Base(parts.Archive)
	way.source = "kbuild cross --rootfs " + name + " --go " + strings.TrimPrefix(t.Version, "go")
	if add != nil {
		way.source += " --for " + kube.JoinPlatforms(add.Platforms, ",")
	}
	way.make = func(ctx context.Context, had func(id string) bool) (made storage.Image, err error) {
		m.sayOutfit()
		img, dropped, err := parts.Assemble(ctx, m.store, inputs)
		if dropped > 0 {
			m.say(StepCross, "%d devices and pipes of %s are left out: a container has its own", dropped, name)
		}
		if err != nil || add == nil {
			return img, err
		}
		// Nobody needs it but the next one: what a killed run leaves is known to be its.
		if err := image.SetMaker(m.store, img.ID, m.plan.crossMaker(m.plan.Base.Ref), had(img.ID)); err != nil {
			return storage.Image{}, err
		}
		defer func() { err = errors.Join(err, cross.DropSuperseded(m.store, img.ID, m.plan.Level.ID())) }()
		return m.addLibraries(ctx, *add, img, way.inputs)
	}
	return way, nil
}

// libraries is what the toolchain has to be made for, or nil.
func (m maker) libraries() *cross.Libraries {
	release, ok := golang.ParseVersion(m.Toolchain.Version)
	if !ok || !release.MakesPorts() || len(m.For) == 0 {
		return nil
	}
	return &cross.Libraries{
		Platforms: m.For, TreeID: m.Plan.treeDir().ID(),
		Step: func(title string) { m.say(StepCross, "%s", shortTitle(title)) },
	}
}

// addLibraries makes an image of another one.
func (m maker) addLibraries(
	ctx context.Context, add cross.Libraries, img storage.Image, inputs digest.Digest,
) (made storage.Image, err error) {
	if add.Host, err = findHost(ctx, m.worker, m.Settings, m.plan); err != nil {
		return storage.Image{}, err
	}
	add.Image = img.ID
	err = m.worker.inContainers(ctx, m.Settings, m.plan, &add.Host, func() (err error) {
		made, err = add.Assemble(ctx, m.store, inputs)
		return err
	})
	return made, err
}

// sayOutfit says what stands in the place of each step of the tree's Dockerfile.
func (m maker) sayOutfit() {
	for _, s := range m.Outfit.Steps {
		text := shortened(s.Text, 50) + ": " + strings.Join(s.Done, "; ")
		if left := strings.Join(s.Left, "; "); left != "" && len(s.Done) > 0 {
			text += "; left out: " + left
		} else if left != "" {
			text += "left out: " + left
		}
		m.say(StepCross, "%s", text)
	}
}

// goFiles visits a toolchain for cross, which knows nothing of where it comes
// from.
func goFiles(t toolchain.Toolchain) cross.GoFiles {
	return func(ctx context.Context, visit func(string, bool, int64, io.Reader) error) error {
		return t.Walk(ctx, func(f toolchain.File, content io.Reader) error {
			return visit(f.Name, f.Executable, f.Size, content)
		})
	}
}

// ofDockerfile makes it by the tree's own Dockerfile, on images that come through
// the mirrors.
func (m maker) ofDockerfile(ctx context.Context) (way making, err error) {
	tree := m.plan.Tree
	bases, err := tree.CrossBases()
	if err != nil {
		return making{}, err
	}
	ids := map[string]string{}
	for _, name := range bases {
		img, err := m.begunWith(ctx, name)
		if err != nil {
			return making{}, err
		}
		ids[name] = img.ID
	}
	parts := cross.Dockerfile{
		Tree: tree, TreeID: m.plan.treeDir().ID(), Proxies: m.Proxies,
		Step: func(title string) { m.say(StepCross, "%s", shortTitle(title)) },
	}
	if parts.Dockerfile, err = tree.CrossBuildfile(ids); err != nil {
		return making{}, err
	}
	if way.inputs, err = parts.Inputs(); err != nil {
		return making{}, err
	}
	way.source = "kbuild cross " + tree.Recipe.CrossDockerfile
	way.make = func(ctx context.Context, _ func(string) bool) (made storage.Image, err error) {
		if parts.Host, err = findHost(ctx, m.worker, m.Settings, m.plan); err != nil {
			return storage.Image{}, err
		}
		err = m.worker.inContainers(ctx, m.Settings, m.plan, &parts.Host, func() (err error) {
			made, err = parts.Assemble(ctx, m.store, way.inputs)
			return err
		})
		return made, err
	}
	return way, nil
}

// shortTitle keeps a step's line on a screen.
func shortTitle(title string) string { return shortened(title, 100) }

func shortened(title string, most int) string {
	if len(title) > most {
		return strings.ToValidUTF8(title[:most], "") + " ..."
	}
	return title
}

// begunWith is an image that the Dockerfile begins with. Unlike kube-cross it is
// looked for under its own name only: a mirror of kube-cross is none of golang.
func (m maker) begunWith(ctx context.Context, text string) (storage.Image, error) {
	start := time.Now()
	name, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return storage.Image{}, fmt.Errorf("%s: FROM %s: %w", m.plan.Tree.Recipe.CrossDockerfile, text, err)
	}
	name = reference.TagNameOnly(name)
	entry, locked := m.plan.locked(m.Mirrors, name)
	if !locked && m.Mirrors.Frozen {
		return storage.Image{}, m.plan.notLocked(m.Mirrors, name)
	}
	img, err := m.plan.find(m.store, name)
	if err == nil {
		_, err = m.plan.matches(m.store, m.Mirrors, name, img)
	}
	if err == nil || !errors.Is(err, storage.ErrNotFound) {
		return img, err
	}
	opts := m.Mirrors.options(m.voice, StepCross)
	opts.SameName = true
	opts.Accept = func(_ context.Context, img storage.Image) error { return m.arriving(name, img) }
	if locked {
		opts.Lock = &entry
	}
	img, origin, err := mirror.Pull(ctx, m.store, name, m.Mirrors.Sources, opts)
	if err != nil {
		return storage.Image{}, err
	}
	if again, err := m.arrived(img, origin); err != nil {
		return storage.Image{}, err
	} else if again {
		return m.begunWith(ctx, text)
	}
	m.done(StepCross, start, "%s copied from %s, %s", name, origin.Source, origin.Digest)
	return img, nil
}

// accept holds the new image against its name, as one from a mirror.
func (m maker) accept(name reference.Named, img storage.Image) error {
	tools := m.plan.Tree.Recipe.Tools
	_, note, err := m.look(name, img)
	if note != "" {
		m.warn(StepCross, "%s", note)
	}
	var wrong *image.WrongBaseError
	if errors.As(err, &wrong) {
		made := &MadeWrongError{Reason: wrong.Reason}
		if m.Rootfs != "" {
			made.Packages = cross.Packages(tools)
		}
		return made
	}
	if err != nil || m.Rootfs == "" {
		return err
	}
	compiler, err := image.LookInto(m.store, img, append([]string{"gcc"}, tools...))
	if err == nil && !slices.Contains(compiler.Tools, "gcc") {
		m.warn(StepCross, "%s has no gcc: what needs cgo, as kubelet does, will not compile; %s",
			filepath.Base(m.Rootfs), cross.Mmdebstrap(cross.Packages(tools)))
	}
	return err
}

// push puts the image where others can take it from.
func (m maker) push(ctx context.Context, img storage.Image, name reference.Named, to mirror.Source) error {
	start := time.Now()
	place, manifest, err := mirror.Push(ctx, m.store, img, name, to, m.Mirrors.options(m.voice, StepPush))
	if err != nil {
		return err
	}
	m.Line(Line{
		Step: StepPush, Text: fmt.Sprintf("%s pushed to %s, %s", name, place, manifest), Took: time.Since(start),
		About: Pushed{to},
	})
	return nil
}
