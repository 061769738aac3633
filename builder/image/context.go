package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Context is a build context on disk, as upstream's build_image leaves it: the
// Dockerfile and what it adds, such as the archive of the sources and the
// version definitions.
type Context struct {
	// Dir is the directory that an image is made from. It is kbuild's own, and
	// nobody else can change what is in it.
	Dir string
	// Place is where the context lies for whoever wants to see it: in the tree,
	// where upstream leaves it, or Dir.
	Place string
	// Digest identifies what is in it, by the content of the sources rather
	// than the bytes of the archive.
	Digest digest.Digest
	// Changed reports whether anything had to be written.
	Changed bool
	// Files identifies what is in it besides the Dockerfile, the sources and
	// the version.
	Files string

	archive      chan error // of the archive being written; closed when it is there
	writeArchive func(ctx context.Context, w io.Writer) error
}

// Shown is Place for a person: relative to the tree's root where it is in the
// tree.
func (c Context) Shown(root string) string {
	if rel, err := filepath.Rel(root, c.Place); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return c.Place
}

// Wait returns when the archive is there, if there is to be one, and says if it
// could not be written.
func (c Context) Wait() error { return <-c.archive }

// WithArchive runs a function while Dir holds the archive, too, under a name.
// Most images are made without.
func (c Context) WithArchive(ctx context.Context, name string, run func() error) (err error) {
	if name == "" {
		return run()
	}
	write := func(w io.Writer) error { return c.writeArchive(ctx, w) }
	err = files.WriteCache(filepath.Join(c.Dir, name), 0o600, files.Self(), write)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, os.Remove(filepath.Join(c.Dir, name))) }()
	return run()
}

// archiveStamp is what kbuild remembers of the archive it wrote: while the
// file has not been touched since and the sources are the same, it need not be
// written again.
type archiveStamp struct {
	Sources digest.Digest
	Size    int64
	Time    time.Time
}

const archiveStampFile = "archive.json" // in kbuild's own directory for the tree

// OtherArchive returns the size of the archive that was written last, if it is one of
// other sources, and so is to be written again beside that.
func OtherArchive(state string, of digest.Digest) (size int64) {
	var stamp archiveStamp
	if files.ReadJSON(filepath.Join(state, archiveStampFile), &stamp) != nil || stamp.Sources == of {
		return 0
	}
	return stamp.Size
}

// WriteContext writes the build context of a tree: to a directory of kbuild's
// own, from which the image is made, and to the tree. Files that already hold
// what they should are left alone; each of the others appears whole or not at
// all, and belongs to the owner of the tree there. The archive is still being
// written when it returns, since neither the image nor the compile waits for it:
// the caller calls [Context.Wait] before the run ends. state is a directory of
// kbuild's own for this tree; added is what [ReadContextFiles] found.
func WriteContext(
	ctx context.Context, tree kube.Tree, manifest sources.Manifest, version kube.Version, dockerfile []byte,
	state string, added ...ContextFile,
) (_ Context, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the build context: %w", err)
		}
	}()
	r := tree.Recipe
	c := Context{
		Dir: filepath.Join(state, "context"), Place: filepath.Join(tree.Root, r.Context), archive: make(chan error, 1),
		Digest: contextDigest(manifest.Digest(), version, dockerfile, added...), Files: filesDigest(added),
		writeArchive: func(ctx context.Context, w io.Writer) error { return tree.WriteArchive(ctx, w, manifest) },
	}
	added = append(slices.Clone(added), ContextFile{Name: "Dockerfile", Data: dockerfile})
	if r.VersionDefs != "" {
		added = append(added, ContextFile{Name: r.VersionDefs, Data: version.File()})
	}
	if err := c.writeOwn(added); err != nil {
		return Context{}, err
	}
	if r.Context == "" {
		c.Place = c.Dir
		close(c.archive)
		return c, nil
	}
	root, owner, err := openTree(tree)
	if err != nil {
		return Context{}, err
	}
	defer root.Close()
	place, err := root.MakeDirs(r.Context, owner)
	if err != nil && len(r.Outputs) > 0 && r.Outputs[0].Named && cannotWrite(err) {
		// The user says where output goes, and needs nothing of the tree.
		c.Place = c.Dir
		close(c.archive)
		return c, nil
	}
	if err != nil {
		return Context{}, err
	}
	if err := c.show(place, added, owner); err != nil {
		return Context{}, errors.Join(err, place.Close())
	}
	stampFile := filepath.Join(state, archiveStampFile)
	if r.Archive == "" || stamped(place, r.Archive, stampFile, manifest.Digest()) {
		close(c.archive)
		return c, place.Close()
	}
	c.Changed = true
	go func() {
		defer close(c.archive)
		defer place.Close()
		if err := c.place(ctx, place, r.Archive, owner, stampFile, manifest.Digest()); err != nil {
			c.archive <- fmt.Errorf("write %s: %w", r.Archive, err)
		}
	}()
	return c, nil
}

func openTree(tree kube.Tree) (*files.Root, files.Owner, error) {
	owner, err := files.OwnerOf(tree.Root)
	if err != nil {
		return nil, files.Owner{}, err
	}
	root, err := files.OpenRoot(tree.Root)
	return root, owner, err
}

// cannotWrite reports whether a tree is not to be written to, or leads elsewhere.
func cannotWrite(err error) bool {
	return errors.Is(err, files.ErrLink) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) ||
		errors.Is(err, unix.ENOTDIR)
}

// writeOwn brings kbuild's own directory to hold just these files, and fills in
// those whose bytes it decides.
func (c *Context) writeOwn(list []ContextFile) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	root, err := files.OpenRoot(c.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	dir, err := root.Dir(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	for i, f := range list {
		list[i] = f.filled(dir)
		changed, err := list[i].write(dir, files.Self())
		if err != nil {
			return err
		}
		c.Changed = c.Changed || changed
	}
	held, err := dir.Entries()
	if err != nil {
		return err
	}
	for _, e := range held {
		if slices.ContainsFunc(list, func(f ContextFile) bool { return f.Name == e.Name }) {
			continue
		}
		if err := dir.RemoveAll(e.Name); err != nil {
			return err
		}
	}
	return nil
}

// show writes the files to where upstream leaves them.
func (c *Context) show(place *files.Dir, list []ContextFile, owner files.Owner) error {
	if err := place.RemoveUnfinished(); err != nil {
		return err
	}
	for _, f := range list {
		changed, err := f.write(place, owner)
		if err != nil {
			return err
		}
		c.Changed = c.Changed || changed
	}
	return nil
}

// place writes the archive to where upstream leaves it, and notes of what it is.
func (c Context) place(
	ctx context.Context, place *files.Dir, name string, owner files.Owner, stampFile string, of digest.Digest,
) error {
	if err := os.Remove(stampFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := place.WriteCache(name, 0o644, owner, func(w io.Writer) error { return c.writeArchive(ctx, w) })
	if err != nil {
		return err
	}
	st, err := place.Stat(name)
	if err != nil {
		return err
	}
	return files.WriteJSON(stampFile, archiveStamp{Sources: of, Size: st.Size, Time: time.Unix(st.Mtim.Unix())})
}

// contextDigest identifies what is in a build context.
func contextDigest(
	manifest digest.Digest, version kube.Version, dockerfile []byte, added ...ContextFile,
) digest.Digest {
	h := sha256.New()
	for _, part := range []string{manifest.String(), string(version.File()), string(dockerfile), filesDigest(added)} {
		fmt.Fprintf(h, "%d %s", len(part), part)
	}
	return digest.NewDigest(digest.SHA256, h)
}

func stamped(place *files.Dir, archive, stampFile string, of digest.Digest) bool {
	var stamp archiveStamp
	if err := files.ReadJSON(stampFile, &stamp); err != nil {
		return false
	}
	st, err := place.Stat(archive)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && stamp.Sources == of &&
		st.Size == stamp.Size && time.Unix(st.Mtim.Unix()).Equal(stamp.Time)
}
