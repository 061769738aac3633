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
)

// Context is a build context on disk, as upstream's build_image leaves it: the
// Dockerfile and what it adds, such as the archive of the sources and the
// version definitions.
type Context struct {
	// Dir is its directory.
	Dir string
	// Digest identifies what is in it, by the content of the sources rather
	// than the bytes of the archive.
	Digest digest.Digest
	// Changed says whether anything had to be written.
	Changed bool
	// Files identifies what is in it besides the Dockerfile, the sources and
	// the version.
	Files string

	archive chan error // of the archive being written; closed when it is there
}

// Wait returns when the archive is there, if there is to be one, and says if it
// could not be written.
func (c Context) Wait() error { return <-c.archive }

// archiveStamp is what kbuild remembers of the archive it wrote: while the
// file has not been touched since and the sources are the same, it need not be
// written again.
type archiveStamp struct {
	Sources string
	Size    int64
	Time    time.Time
}

// WriteContext writes the build context of a tree. Files that already hold
// what they should are left alone; each of the others appears whole or not at
// all, and belongs to the owner of the tree. The archive is still being written
// when it returns, since neither the image nor the compile waits for it: the
// caller calls [Context.Wait] before the run ends. state is a directory of
// kbuild's own for this tree; added is what [ReadContextFiles] found.
func WriteContext(ctx context.Context, tree kube.Tree, manifest sources.Manifest, version kube.Version, dockerfile []byte, state string, added ...ContextFile) (Context, error) {
	r := tree.Recipe
	c := Context{
		Dir: filepath.Join(tree.Root, r.Context), Digest: contextDigest(manifest.Digest(), version, dockerfile, added...), Files: filesDigest(added),
	}
	owner, err := files.OwnerOf(tree.Root)
	if err != nil {
		return Context{}, fmt.Errorf("write the build context: %w", err)
	}
	if err := files.MakeDirs(c.Dir, owner); err != nil {
		return Context{}, fmt.Errorf("write the build context: %w", err)
	}
	if err := files.RemoveUnfinished(c.Dir); err != nil {
		return Context{}, fmt.Errorf("write the build context: %w", err)
	}
	added = append(slices.Clone(added), ContextFile{Name: "Dockerfile", Data: dockerfile})
	if r.VersionDefs != "" {
		added = append(added, ContextFile{Name: r.VersionDefs, Data: version.File()})
	}
	for _, f := range added {
		changed, err := f.write(c.Dir, owner)
		if err != nil {
			return Context{}, fmt.Errorf("write the build context: %w", err)
		}
		c.Changed = c.Changed || changed
	}
	if r.Archive == "" {
		c.archive = make(chan error)
		close(c.archive)
		return c, nil
	}

	archive, stampFile := filepath.Join(c.Dir, r.Archive), filepath.Join(state, "archive.json")
	c.archive = make(chan error, 1)
	if stamped(archive, stampFile, manifest.Digest()) {
		close(c.archive)
		return c, nil
	}
	c.Changed = true
	go func() {
		defer close(c.archive)
		if err := writeArchive(ctx, tree, manifest, archive, stampFile, owner); err != nil {
			c.archive <- fmt.Errorf("write %s: %w", r.Archive, err)
		}
	}()
	return c, nil
}

func writeArchive(ctx context.Context, tree kube.Tree, manifest sources.Manifest, archive, stampFile string, owner files.Owner) error {
	if err := os.Remove(stampFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := files.WriteCache(archive, 0o644, owner, func(w io.Writer) error { return tree.WriteArchive(ctx, w, manifest) })
	if err != nil {
		return err
	}
	info, err := os.Stat(archive)
	if err != nil {
		return err
	}
	return files.WriteJSON(stampFile, archiveStamp{Sources: manifest.Digest(), Size: info.Size(), Time: info.ModTime()})
}

// contextDigest identifies what is in a build context.
func contextDigest(manifest string, version kube.Version, dockerfile []byte, files ...ContextFile) digest.Digest {
	h := sha256.New()
	for _, part := range []string{manifest, string(version.File()), string(dockerfile), filesDigest(files)} {
		fmt.Fprintf(h, "%d %s", len(part), part)
	}
	return digest.NewDigest(digest.SHA256, h)
}

func stamped(archive, stampFile, sources string) bool {
	var stamp archiveStamp
	if err := files.ReadJSON(stampFile, &stamp); err != nil {
		return false
	}
	info, err := os.Lstat(archive)
	return err == nil && info.Mode().IsRegular() && stamp.Sources == sources &&
		info.Size() == stamp.Size && info.ModTime().Equal(stamp.Time)
}
