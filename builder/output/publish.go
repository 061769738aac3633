// Package output brings what a command left into the tree: programs into the
// output directory, all at once, and generated files to where upstream copies
// them. It knows trees and owners, and nothing of containers.
package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// Published tells what became of the files that a command left in an output
// directory.
type Published struct {
	Files []PublishedFile
	// LeftOut are the paths of files that are no <os>/<arch>/<name>, or have
	// a name that begins with a dot or holds control characters.
	LeftOut []string
}

// A PublishedFile is a file that a command left.
type PublishedFile struct {
	// Path is the file's path on the host.
	Path string
	// Changed is false when it already held these bytes.
	Changed bool
}

// Publish brings the files <os>/<arch>/<name> below staging to the directory
// to. All is looked at before anything is published. Each <os>/<arch> directory
// appears with all its new files in one step;
// where it is a mount of its own, each file does. Files of it that staging does
// not have stay, and so do files whose bytes are the same. A link or a special
// file in staging is refused, and then nothing is published. With wanted only the files it
// approves of, by their paths below staging, are published or told as left out:
// the others are an earlier command's.
func Publish(
	staging string, to Destination, owner files.Owner, wanted func(file string) bool,
) (p Published, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("publish to %s: %w", to.Path(), err)
		}
	}()
	from, err := files.OpenRoot(staging)
	if err != nil {
		return Published{}, err
	}
	defer from.Close()
	groups, leftOut, err := stagedFiles(from)
	if err != nil {
		return Published{}, err
	}
	if wanted != nil {
		leftOut = slices.DeleteFunc(leftOut, func(file string) bool { return !wanted(file) })
	}
	p.LeftOut = leftOut
	var platforms []*platform
	defer func() {
		for _, each := range platforms {
			each.close()
		}
	}()
	var root *files.Root
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		names := groups[name]
		if wanted != nil {
			names = slices.DeleteFunc(names, func(file string) bool { return !wanted(filepath.Join(name, file)) })
		}
		if len(names) == 0 {
			continue
		}
		if root == nil {
			if root, err = to.open(owner); err != nil {
				return Published{}, err
			}
			defer root.Close()
		}
		each := &platform{
			root: root, dir: filepath.Join(to.Dir, name), names: names, changed: map[string]bool{}, owner: owner,
		}
		platforms = append(platforms, each)
		if err := each.look(from, name); err != nil {
			return Published{}, err
		}
	}
	for _, each := range platforms {
		if err := each.publish(); err != nil {
			return Published{}, err
		}
		for _, file := range each.names {
			p.Files = append(p.Files, PublishedFile{filepath.Join(to.Root, each.dir, file), each.changed[file]})
		}
	}
	return p, nil
}

// stagedFiles lists the names of the files to be published by their platform,
// <os>/<arch>, and the paths of those that are not.
func stagedFiles(staging *files.Root) (groups map[string][]string, leftOut []string, err error) {
	top, err := staging.Dir(".")
	if err != nil {
		return nil, nil, err
	}
	defer top.Close()
	groups = map[string][]string{}
	err = top.Walk(func(_ *files.Dir, e files.Entry, path string) error {
		switch {
		case e.Kind().IsDir():
			return nil
		case e.Kind() != 0:
			return fmt.Errorf("%s is neither a file nor a directory", path)
		}
		platform, name, ok := publishable(path)
		if !ok {
			leftOut = append(leftOut, path)
			return nil
		}
		groups[platform] = append(groups[platform], name)
		return nil
	})
	return groups, leftOut, err
}

// A platform is the directory of one platform's files, to be published.
type platform struct {
	root    *files.Root
	dir     string     // the directory, below the root
	from    *files.Dir // staging's
	at      *files.Dir // the directory as it is, or nil
	os      *files.Dir // the one above it
	names   []string
	changed map[string]bool
	owner   files.Owner
}

func (p *platform) arch() string { return filepath.Base(p.dir) }

func (p *platform) close() {
	for _, dir := range []*files.Dir{p.from, p.at, p.os} {
		if dir != nil {
			dir.Close() //nolint:errcheck // nothing was written to it
		}
	}
}

// look finds out what is to be done, and writes nothing.
func (p *platform) look(staging *files.Root, name string) (err error) {
	if p.from, err = staging.Dir(name); err != nil {
		return err
	}
	held, err := nearest(p.root, p.dir)
	if err != nil {
		return err
	}
	held.Close()
	p.at, err = p.root.Dir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return inTheWay(p.root, p.dir, err)
	}
	return p.compare()
}

// compare finds out which files differ from what is published.
func (p *platform) compare() error {
	if p.at == nil {
		for _, name := range p.names {
			p.changed[name] = true
		}
		return nil
	}
	for _, name := range p.names {
		st, err := p.at.Stat(name)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return &PlaceError{Path: filepath.Join(p.at.Path(), name), Why: DirectoryInTheWay}
		}
		same, err := sameFile(p.from, p.at, name)
		if err != nil {
			return err
		}
		if !same {
			p.changed[name] = true
		}
	}
	return nil
}

// publish lets the platform's directory appear with the new files, and removes
// what killed runs left.
func (p *platform) publish() (err error) {
	if p.os, err = p.root.MakeDirs(filepath.Dir(p.dir), p.owner); err != nil {
		return err
	}
	for _, dir := range []*files.Dir{p.os, p.at} {
		if dir == nil {
			continue
		}
		if err := dir.RemoveUnfinished(); err != nil {
			return err
		}
	}
	if len(p.changed) == 0 {
		return nil
	}
	if p.at != nil {
		mount, err := p.os.IsMount(p.arch())
		if err != nil {
			return err
		}
		if mount {
			return p.each()
		}
	}
	err = p.whole()
	for _, cannot := range []error{
		unix.EINVAL, unix.ENOSYS, unix.EXDEV, unix.EBUSY, unix.EMLINK, unix.EPERM, unix.ENOTSUP,
	} {
		if p.at != nil && errors.Is(err, cannot) {
			return p.each()
		}
	}
	return err
}

// whole makes a directory of what is published and what is new, and exchanges
// it for the one that is there.
func (p *platform) whole() (err error) {
	next, name, err := p.os.MakeUnfinished()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, next.Close(), p.os.RemoveAll(name)) }()
	if p.at != nil {
		if err := keepOthers(p.at, next, p.changed, p.owner); err != nil {
			return err
		}
	}
	for file := range p.changed {
		if err := copyFile(p.from, next, file, p.owner); err != nil {
			return err
		}
	}
	if err := errors.Join(next.File().Chmod(0o755), next.File().Chown(p.owner.UID, p.owner.GID)); err != nil {
		return err
	}
	// A program that is in its place, and not on the disk, is empty after a power
	// cut.
	if err := next.Sync(); err != nil {
		return err
	}
	if p.at == nil {
		return p.os.Rename(name, p.os, p.arch())
	}
	return p.os.Exchange(name, p.arch())
}

// each puts the new files one by one into the directory that is there, each
// whole, when all of them lie beside their places.
func (p *platform) each() (err error) {
	unfinished := map[string]string{} // by the name it is to have
	var open []*os.File               // a file's lock lasts until it is closed
	defer func() {
		for _, name := range unfinished {
			err = errors.Join(err, p.at.RemoveAll(name))
		}
		for _, f := range open {
			err = errors.Join(err, f.Close())
		}
	}()
	for file := range p.changed {
		out, name, err := p.at.CreateUnfinished()
		if err != nil {
			return err
		}
		open = append(open, out)
		unfinished[file] = name
		if err := fill(out, p.from, file, p.owner); err != nil {
			return err
		}
	}
	if err := p.at.Sync(); err != nil {
		return err
	}
	for file, name := range unfinished {
		if err := p.at.Rename(name, p.at, file); err != nil {
			return err
		}
		delete(unfinished, file)
	}
	return nil
}

// keepOthers links what is published already, and stays, into next.
func keepOthers(at, next *files.Dir, changed map[string]bool, owner files.Owner) error {
	entries, err := at.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case changed[e.Name], strings.HasPrefix(e.Name, files.Unfinished):
		case e.Kind().IsDir():
			err = keepDir(at, next, e.Name, owner)
		default:
			err = at.Link(e.Name, next)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func keepDir(at, next *files.Dir, name string, owner files.Owner) error {
	from, err := at.Dir(name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := next.MakeDir(name, owner)
	if err != nil {
		return err
	}
	defer to.Close()
	return keepOthers(from, to, nil, owner)
}

// copyFile copies rather than links: what is published must not change when the
// container writes to its own file again.
func copyFile(from, to *files.Dir, name string, owner files.Owner) error {
	out, err := to.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(fill(out, from, name, owner), out.Close())
}

func fill(out *os.File, from *files.Dir, name string, owner files.Owner) error {
	in, err := from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	return files.Fill(out, in, owner)
}

// sameFile compares the files of a name in two directories; a second one that is
// missing or no plain file is another.
func sameFile(a, b *files.Dir, name string) (bool, error) {
	fa, err := a.Open(name)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := b.Open(name)
	if err != nil {
		return false, nil //nolint:nilerr // then it is written anew
	}
	defer fb.Close()
	infoA, err := fa.Stat()
	if err != nil {
		return false, err
	}
	infoB, err := fb.Stat()
	if err != nil {
		return false, err
	}
	if infoA.Size() != infoB.Size() || infoA.Mode().Perm()&0o100 != infoB.Mode().Perm()&0o100 {
		return false, nil
	}
	bufA, bufB := make([]byte, 1<<18), make([]byte, 1<<18)
	for {
		n, errA := io.ReadFull(fa, bufA)
		m, errB := io.ReadFull(fb, bufB)
		switch {
		case n != m || !bytes.Equal(bufA[:n], bufB[:m]):
			return false, nil
		case errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF):
			return errors.Is(errB, errA), nil
		case errA != nil:
			return false, errA
		case errB != nil:
			return false, nil
		}
	}
}
