package cross

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/containers/image/v5/pkg/compression"
	"github.com/kbuild/kbuild/builder/image"
)

// rootfs is the content of a root file system archive on its way into a layer:
// a tar archive, plain or compressed, of debootstrap, mmdebstrap or docker
// export.
type rootfs struct {
	file string
	// without is a directory that gives way to what comes with a later layer.
	without string

	// What was seen when it was written.
	dirs    map[string]tar.Header
	links   map[string]string
	regular map[string]bool
	dropped int // devices, which nobody without root may make
}

// write writes the archive as a layer: the same bytes for the same archive. A
// name that leads out of it is an error.
func (r *rootfs) write(ctx context.Context, to io.Writer) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("root file system %s: %w", r.file, err)
		}
	}()
	r.dirs, r.links, r.regular, r.dropped = map[string]tar.Header{}, map[string]string{}, map[string]bool{}, 0
	f, err := os.Open(r.file)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, _, err := compression.AutoDecompress(f)
	if err != nil {
		return err
	}
	defer plain.Close()
	archive, layer := tar.NewReader(plain), tar.NewWriter(to)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &ArchiveError{Why: NoArchive, Err: err}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		entry, err := r.entry(h)
		if err != nil {
			return err
		}
		if entry == nil {
			continue
		}
		if err := layer.WriteHeader(entry); err != nil {
			return err
		}
		if entry.Typeflag == tar.TypeReg {
			if _, err := io.Copy(layer, archive); err != nil {
				return fmt.Errorf("%s: %w", entry.Name, err)
			}
		}
	}
	if err := r.complete(); err != nil {
		return err
	}
	return layer.Close()
}

// complete sees that the archive was one of a whole system.
func (r *rootfs) complete() error {
	switch {
	case r.regular["manifest.json"] || r.regular["oci-layout"]:
		return &ArchiveError{Why: ImageArchive}
	case len(r.regular) == 0:
		return errors.New("it holds no file")
	}
	for _, dir := range []string{"usr", "etc"} {
		if _, ok := r.dirs[dir]; !ok {
			return &ArchiveError{Why: NoSystem, Dir: dir}
		}
	}
	return nil
}

// entry returns what an entry of the archive becomes in the layer, nil for one that
// is left out.
func (r *rootfs) entry(h *tar.Header) (*tar.Header, error) {
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil, nil
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo,
		tar.TypeGNUSparse:
	default:
		return nil, fmt.Errorf("%q is of an unknown kind, %q", h.Name, h.Typeflag)
	}
	name, err := layerName(h.Name)
	if err != nil {
		return nil, err
	}
	if name == "." {
		return nil, nil
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if target, ok := r.links[dir]; ok {
			return nil, fmt.Errorf("the name %q leads through the link %s -> %s", h.Name, dir, target)
		}
	}
	if strings.HasPrefix(path.Base(name), image.Whiteout) {
		return nil, fmt.Errorf("%q: its name %w", h.Name, image.ErrWhiteout)
	}
	if r.without != "" && (name == r.without || strings.HasPrefix(name, r.without+"/")) {
		return nil, nil
	}
	for _, dir := range []string{"dev", "proc", "sys"} {
		if strings.HasPrefix(name, dir+"/") {
			return nil, nil // mounted in every container
		}
	}
	entry := &tar.Header{
		Typeflag: h.Typeflag, Name: name, Mode: h.Mode & 0o7777, Uid: h.Uid, Gid: h.Gid, Size: h.Size, ModTime: h.ModTime,
	}
	switch h.Typeflag {
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		r.dropped++
		return nil, nil
	case tar.TypeDir:
		entry.Name, entry.Size = name+"/", 0
		r.dirs[name] = *entry
		return entry, nil
	case tar.TypeSymlink:
		if leadsOut(name, h.Linkname) {
			return nil, fmt.Errorf("the link %q -> %q leads out of the root file system", h.Name, h.Linkname)
		}
		entry.Linkname, entry.Size = h.Linkname, 0
		r.links[name] = h.Linkname
		return entry, nil
	case tar.TypeLink:
		target, err := layerName(h.Linkname)
		if err != nil {
			return nil, fmt.Errorf("the hard link %q: %w", h.Name, err)
		}
		if _, link := r.links[target]; !r.regular[target] && !link {
			if target == "dev" || strings.HasPrefix(target, "dev/") {
				r.dropped++
				return nil, nil
			}
			return nil, fmt.Errorf("the hard link %q is to %q, which does not exist", h.Name, h.Linkname)
		}
		entry.Linkname, entry.Size = target, 0
	default:
		entry.Typeflag = tar.TypeReg
	}
	delete(r.links, name)
	r.regular[name] = true
	return entry, nil
}

// layerName returns a name of the archive without what stands for its root.
func layerName(name string) (string, error) {
	clean := strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if clean == "" || clean == "." {
		return ".", nil
	}
	if !fs.ValidPath(clean) || strings.ContainsRune(clean, 0) {
		return "", fmt.Errorf("the name %q leads out of the root file system", name)
	}
	return clean, nil
}

// leadsOut reports whether a symbolic link climbs above the root. An absolute one
// begins at the root, and that is the container's.
func leadsOut(name, target string) bool {
	if path.IsAbs(target) {
		return false
	}
	clean := path.Join(path.Dir(name), target)
	return clean == ".." || strings.HasPrefix(clean, "../")
}

// parents returns the headers of the directories above a name as the root file
// system has them, or as they are made where it has none. A link among them is
// an error.
func (r *rootfs) parents(name string) ([]tar.Header, error) {
	var list []tar.Header
	rel := ""
	elements := strings.Split(path.Dir(name), "/")
	for _, element := range elements {
		rel = path.Join(rel, element)
		if target, ok := r.links[rel]; ok {
			return nil, fmt.Errorf("root file system %s: /%s is a link to %s and must be a directory", r.file, rel, target)
		}
		h, ok := r.dirs[rel]
		if !ok {
			h = tar.Header{Typeflag: tar.TypeDir, Name: rel + "/", Mode: 0o755, ModTime: goSourceTime}
		}
		list = append(list, h)
	}
	return list, nil
}

// has reports whether the root file system has anything of a name.
func (r *rootfs) has(name string) bool {
	_, dir := r.dirs[name]
	_, link := r.links[name]
	return dir || link || r.regular[name]
}
