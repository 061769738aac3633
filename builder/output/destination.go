package output

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// A Destination is a directory that files are brought to. What a tree names lies
// in the tree, which a stranger may have written: no link is followed there. A
// directory that the user names is where the user says, behind links or not.
type Destination struct {
	// Root is the directory that is not left. Links in its own path are
	// followed.
	Root string
	// Dir is the directory's path below Root, with slashes; "." is Root itself.
	Dir string
}

// InTree is the destination of a path in the tree.
func InTree(tree kube.Tree, dir string) Destination { return Destination{tree.Root, dir} }

// Of is the destination of what a tree's command leaves.
func Of(tree kube.Tree, o kube.Output) Destination {
	if o.InTree != "" {
		return InTree(tree, o.InTree)
	}
	return Destination{o.Host, "."}
}

// Path is the directory's path on the host.
func (d Destination) Path() string { return filepath.Join(d.Root, filepath.FromSlash(d.Dir)) }

// Check says whether the directory can be made and written to, without making
// it: the nearest directory that exists decides. It is asked before the user
// namespace is entered, in which root may write wherever the user may.
func (d Destination) Check() error {
	if d.Dir == "." {
		if err := Writable(d.Root); err != nil {
			return err
		}
	}
	root, err := files.OpenRoot(d.Root)
	if errors.Is(err, fs.ErrNotExist) && d.Dir == "." {
		return nil // it will be made
	}
	if err != nil {
		return err
	}
	defer root.Close()
	if err := canMake(root, d.Dir); err != nil {
		return err
	}
	// What will be published for this machine goes two levels below.
	below, err := nearest(root, path.Join(d.Dir, "linux", runtime.GOARCH))
	if err != nil {
		return err
	}
	return below.Close()
}

// canMake says whether a directory can be made below a root and written to.
func canMake(root *files.Root, name string) error {
	at, err := nearest(root, name)
	if err != nil {
		return err
	}
	defer at.Close()
	return writable(at)
}

// writable says whether this user may write in a directory.
func writable(d *files.Dir) error {
	if err := unix.Faccessat(int(d.File().Fd()), ".", unix.W_OK|unix.X_OK, 0); err != nil {
		return &PlaceError{Path: d.Path(), Why: NotWritable, Err: err}
	}
	return nil
}

// nearest opens a directory, or the nearest one above it that exists.
func nearest(root *files.Root, name string) (*files.Dir, error) {
	at, err := root.Dir(".")
	if err != nil {
		return nil, err
	}
	above := ""
	for _, element := range strings.Split(path.Clean(name), "/") {
		above = path.Join(above, element)
		next, err := at.Dir(element)
		if errors.Is(err, fs.ErrNotExist) {
			return at, nil
		}
		at.Close()
		if err != nil {
			return nil, inTheWay(root, above, err)
		}
		at = next
	}
	return at, nil
}

// inTheWay explains that a file is in the place of a directory.
func inTheWay(root *files.Root, name string, err error) error {
	if errors.Is(err, unix.ENOTDIR) {
		return &PlaceError{Path: filepath.Join(root.Path(), filepath.FromSlash(name)), Why: FileInTheWay, Err: err}
	}
	return err
}

// Owner is whom files belong to that are brought there: the tree's owner, or that
// of the directory which the user named.
func (d Destination) Owner() (files.Owner, error) {
	for dir := d.Root; ; dir = filepath.Dir(dir) {
		owner, err := files.OwnerOf(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			continue
		}
		return owner, err
	}
}

// open opens Root, and makes it where the user named it.
func (d Destination) open(owner files.Owner) (*files.Root, error) {
	if d.Dir == "." {
		if err := files.MakeDirs(d.Root, owner); err != nil {
			return nil, err
		}
	}
	return files.OpenRoot(d.Root)
}
