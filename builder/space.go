package builder

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/output"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"golang.org/x/sys/unix"
)

// A room is what a file system has left for this user, or what is needed of it.
type room struct {
	bytes  int64
	inodes uint64
}

// A SpaceError says that a file system has no room for a build.
type SpaceError struct {
	Dir              string
	Free, Need       int64 // bytes; Need is 0 where it is not known
	Inodes, NeedThem uint64
	// Unlimited says that the file system has no fixed number of inodes.
	Unlimited bool
	Err       error // that of the system, or nil where nothing was tried yet
}

func (e *SpaceError) Error() string {
	free := fmt.Sprintf("%d MB", e.Free/1e6)
	if !e.Unlimited {
		free += fmt.Sprintf(" and %d inodes", e.Inodes)
	}
	if e.Err != nil {
		return fmt.Sprintf("no space left in %s, where %s are free: %v", e.Dir, free, e.Err)
	}
	return fmt.Sprintf("no space in %s: the build needs %d MB and %d inodes, %s are free",
		e.Dir, (e.Need+999_999)/1e6, e.NeedThem, free)
}

// Unwrap returns the system's error.
func (e *SpaceError) Unwrap() error { return e.Err }

// left looks at the file system of a directory, or of what is above it.
func left(dir string) (st unix.Statfs_t, err error) {
	err = unix.Statfs(existing(dir), &st)
	return st, err
}

// plenty is more than any image, in bytes: a file system with so much left, maybe
// by now, was not the full one. The kernel says the same of other limits, such as
// that of user namespaces, and a registry may say it of its own disk.
const plenty = 8e9

// full makes of an error that says a file system is full one that says which and
// what is left there. Any other is returned as it is.
func full(err error, dirs ...string) error {
	ours, pulled := (*SpaceError)(nil), (*mirror.SpaceError)(nil)
	if !noSpace(err) || errors.As(err, &ours) || errors.As(err, &pulled) {
		return err
	}
	e := &SpaceError{Err: err}
	for _, dir := range dirs {
		st, errStat := left(dir)
		if dir == "" || errStat != nil {
			continue
		}
		free, inodes := int64(st.Bavail)*st.Bsize, st.Files > 0 && st.Ffree == 0
		if e.Dir == "" || free < e.Free || inodes {
			e.Dir, e.Free, e.Inodes, e.Unlimited = existing(dir), free, st.Ffree, st.Files == 0
		}
		if inodes {
			break
		}
	}
	if e.Dir == "" || e.Free > plenty && (e.Unlimited || e.Inodes > 0) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	return e
}

// dirs are the directories that the worker writes to, whatever it does.
func (s Settings) dirs() []string {
	list := []string{s.CacheDir, os.Getenv("TMPDIR")}
	if root, err := storage.Root(s.Store); err == nil {
		list = append(list, root)
	}
	return list
}

// checkRoom returns a [*SpaceError] where what the image step writes does not fit. A
// tree's first sources become a layer, and an archive that is written twice; later the
// layer has what changed, which is little, and the archive is written anew beside the
// one that is there. The base image is the mirror step's, which knows its size when it
// sees it, and what is compiled that of [compilation.checkRoom].
func (b *build) checkRoom() error {
	p := b.Plan
	if !b.does(StepImage) || p.Tree.Recipe.Way == kube.WayMount {
		return nil
	}
	_, err := image.Assembled(b.store, p.maker(), p.Names[len(p.Names)-1].Ref)
	if err == nil {
		again := image.OtherArchive(p.StateDir, p.Sources.Digest())
		return checkRooms([]string{p.Tree.Root}, []room{{bytes: again}})
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	need := room{inodes: uint64(len(p.Sources))}
	for _, e := range p.Sources {
		if e.Kind == sources.File {
			need.bytes += e.Size
		}
	}
	// Text becomes a fourth to a sixth.
	archive := room{bytes: need.bytes / 6}
	return checkRooms([]string{b.store.Root(), p.StateDir, p.Tree.Root}, []room{need, archive, archive})
}

// checkRoom returns a [*SpaceError] where what a compile leaves does not fit, as far
// as that is known before. What is compiled from nothing is taken for a quarter of the
// sources of the language at least. A program that is published, and not kept any more
// because something changed, is made again, and copied beside the one that is there.
func (c *compilation) checkRoom(cold string) error {
	if !c.own() {
		return nil
	}
	kept, published := room{}, []room{}
	if cold != "" {
		for _, e := range c.Plan.Sources {
			if e.Kind == sources.File && strings.HasSuffix(e.Path, ".go") && !strings.HasSuffix(e.Path, "_test.go") {
				kept.bytes += e.Size
			}
		}
		kept.bytes /= 4
	}
	dirs := []string{c.Plan.StateDir}
	platforms, programs := c.makes()
	for i, o := range c.Plan.Tree.Recipe.Outputs {
		to := output.Of(c.Plan.Tree, o).Path()
		size := remade(to, c.state.Staging(o), platforms, c.wanted[i], programs)
		kept.bytes += size
		dirs, published = append(dirs, to), append(published, room{bytes: size})
	}
	return checkRooms(dirs, append([]room{kept}, published...))
}

// makes are the platforms that the command compiles for, and the names of the
// programs, or nil where they are not known.
func (c *compilation) makes() (platforms []kube.Platform, programs []string) {
	platforms, programs = c.Plan.Platforms, c.Plan.Programs
	if len(platforms) == 0 {
		platforms = []kube.Platform{{OS: "linux", Arch: c.Mirrors.Platform.OrHost().Architecture}}
	}
	if len(programs) > 0 {
		return platforms, programs
	}
	targets, err := c.Plan.Tree.Targets()
	if err != nil {
		return platforms, nil // the command decides what it makes of such a tree
	}
	for _, t := range targets {
		programs = append(programs, path.Base(t))
	}
	return platforms, programs
}

// remade is the size, in bytes, of the files of an output directory that are wanted
// and made again: those of the platforms with the names of programs, nil for all, that
// staging does not hold. Whatever else is there stays as it is: a user may name any
// directory, and other runs publish for other platforms.
func remade(
	published, staging string, platforms []kube.Platform, wanted func(file string) bool, programs []string,
) (size int64) {
	var found []string
	for _, p := range platforms {
		entries, _ := os.ReadDir(filepath.Join(published, p.OS, p.Arch)) //nolint:errcheck // then nothing is published
		for _, e := range entries {
			name := strings.TrimSuffix(e.Name(), ".exe")
			if e.Type().IsRegular() && (programs == nil || slices.Contains(programs, name)) {
				found = append(found, filepath.Join(p.OS, p.Arch, e.Name()))
			}
		}
	}
	slices.Sort(found)
	for _, rel := range slices.Compact(found) { // a platform may be given twice
		if wanted != nil && !wanted(rel) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(staging, rel)); err == nil {
			continue
		}
		if info, err := os.Lstat(filepath.Join(published, rel)); err == nil {
			size += info.Size()
		}
	}
	return size
}

// checkRooms adds up what is needed of each file system, and looks whether it is
// there.
func checkRooms(dirs []string, needs []room) error {
	sums := map[uint64]room{}
	for i, dir := range dirs {
		var where unix.Stat_t
		st, err := left(dir)
		if err = cmp.Or(err, unix.Stat(existing(dir), &where)); err != nil {
			return fmt.Errorf("space in %s: %w", dir, err)
		}
		sum := sums[where.Dev]
		sum.bytes, sum.inodes = sum.bytes+needs[i].bytes, sum.inodes+needs[i].inodes
		sums[where.Dev] = sum
		free := int64(st.Bavail) * st.Bsize
		if free < sum.bytes || st.Files > 0 && st.Ffree < sum.inodes {
			return &SpaceError{
				Dir: existing(dir), Free: free, Need: sum.bytes, Inodes: st.Ffree, NeedThem: sum.inodes, Unlimited: st.Files == 0,
			}
		}
	}
	return nil
}
