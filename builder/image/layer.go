package image

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"golang.org/x/sys/unix"
)

// A sourceLayer is what is to be in one layer of an image: sources, and what
// is gone from the layers below.
type sourceLayer struct {
	tree    kube.Tree
	parents []dirEntry // the working directory in the image and those above it
	changed sources.Manifest
	gone    []string
	// version is the new content of the version file, nil when it stays.
	version []byte
}

// dirEntry is a directory as an image has it. A layer that has anything below
// a directory has the directory, too, and its owner and mode count.
type dirEntry struct {
	Path     string // without a leading slash
	Mode     int64
	UID, GID int
}

// Whiteout is the prefix of an entry that hides what a lower layer has, see
// the OCI image specification, layer.md.
const Whiteout = ".wh."

// ErrWhiteout is of a name that a layer cannot hold.
var ErrWhiteout = errors.New("begins with .wh., which is reserved in image layers")

func (l sourceLayer) empty() bool {
	return len(l.changed) == 0 && len(l.gone) == 0 && l.version == nil
}

// write writes the layer to a file, uncompressed. Files are compared with the
// manifest as they are read.
func (l sourceLayer) write(ctx context.Context, file string) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffered := bufio.NewWriterSize(f, 1<<20)
	w := tar.NewWriter(buffered)
	if err := l.writeTo(ctx, w); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

func (l sourceLayer) writeTo(ctx context.Context, w *tar.Writer) error {
	prefix := strings.TrimPrefix(l.tree.Recipe.Workdir, "/")
	versionFile := strings.TrimPrefix(l.tree.Recipe.VersionFile, "/")
	if len(l.changed)+len(l.gone) > 0 || l.version != nil && strings.HasPrefix(versionFile, prefix+"/") {
		for _, p := range l.parents {
			h := tar.Header{
				Typeflag: tar.TypeDir, Name: p.Path + "/", Mode: p.Mode, Uid: p.UID, Gid: p.GID,
				ModTime: sources.CanonicalTime,
			}
			if err := w.WriteHeader(&h); err != nil {
				return err
			}
		}
	}
	if l.version != nil {
		h := tar.Header{
			Typeflag: tar.TypeReg, Name: versionFile, Mode: 0o644,
			Size: int64(len(l.version)), ModTime: sources.CanonicalTime,
		}
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		if _, err := w.Write(l.version); err != nil {
			return err
		}
	}
	if len(l.changed) == 0 && len(l.gone) == 0 {
		return nil
	}
	for _, dir := range l.implied() {
		h := tar.Header{
			Typeflag: tar.TypeDir, Name: path.Join(prefix, dir) + "/", Mode: 0o755, ModTime: sources.CanonicalTime,
		}
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
	}
	for _, p := range l.gone {
		dir, base := path.Split(p)
		h := tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join(prefix, dir, Whiteout+base), Mode: 0o600,
			ModTime: sources.CanonicalTime,
		}
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
	}
	for _, e := range l.changed {
		if strings.HasPrefix(path.Base(e.Path), Whiteout) {
			return fmt.Errorf("%s: its name %w", e.Path, ErrWhiteout)
		}
	}
	return l.tree.WriteEntries(ctx, w, prefix, l.changed)
}

// implied lists, parents first, the directories above the layer's entries that
// are not entries themselves.
func (l sourceLayer) implied() []string {
	have := map[string]bool{".": true}
	for _, e := range l.changed {
		if e.Kind == sources.Dir {
			have[e.Path] = true
		}
	}
	var dirs []string
	var add func(string)
	add = func(dir string) {
		if have[dir] {
			return
		}
		have[dir] = true
		add(path.Dir(dir))
		dirs = append(dirs, dir)
	}
	for _, p := range l.gone {
		add(path.Dir(p))
	}
	for _, e := range l.changed {
		add(path.Dir(e.Path))
	}
	return dirs
}

// parentsOf reads the directories down to dir in a mounted image. ok is false
// where one of them is no directory: then only an image builder's own rules
// tell where a file goes.
func parentsOf(root, dir string) (parents []dirEntry, ok bool, err error) {
	rel := ""
	for _, name := range strings.Split(strings.Trim(dir, "/"), "/") {
		rel = path.Join(rel, name)
		var st unix.Stat_t
		if err := unix.Lstat(path.Join(root, rel), &st); err != nil {
			if errors.Is(err, unix.ENOENT) {
				return nil, false, nil
			}
			return nil, false, fmt.Errorf("inspect /%s in the image: %w", rel, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return nil, false, nil
		}
		parents = append(parents, dirEntry{Path: rel, Mode: int64(st.Mode & 0o7777), UID: int(st.Uid), GID: int(st.Gid)})
	}
	return parents, true, nil
}
