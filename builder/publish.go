package builder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Published tells what became of one file that a command left in an output
// directory.
type Published struct {
	// Path is the file's path on the host.
	Path string
	// Changed is false when it already held these bytes.
	Changed bool
}

// Owner is whom published files belong to: the ids as this process sees them.
type Owner struct{ UID, GID int }

// self is whom files of kbuild's own belong to.
func self() Owner { return Owner{os.Geteuid(), os.Getegid()} }

// OwnerOf is the owner of a directory. Inside a user namespace that is root,
// who is the user outside.
func OwnerOf(dir string) (Owner, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return Owner{}, fmt.Errorf("owner of %s: %w", dir, err)
	}
	return Owner{int(st.Uid), int(st.Gid)}, nil
}

// Publish brings the files below staging to the directory host. Each
// <os>/<arch> directory appears with all its new files in one step; files of
// it that staging does not have stay, and so do files whose bytes are the same.
// A link or a special file in staging is refused, and then nothing is
// published. With wanted only the files it approves of are published, by their
// paths below staging.
func Publish(staging, host string, owner Owner, wanted func(file string) bool) (list []Published, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("publish to %s: %w", host, err)
		}
	}()
	groups, err := stagedFiles(staging)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for dir, files := range groups {
		if wanted != nil {
			files = slices.DeleteFunc(files, func(file string) bool { return !wanted(filepath.Join(dir, file)) })
		}
		if groups[dir] = files; len(files) > 0 {
			dirs = append(dirs, dir)
		}
	}
	sort.Strings(dirs)
	for _, dir := range dirs {
		published, err := publishDir(filepath.Join(staging, dir), filepath.Join(host, dir), host, groups[dir], owner)
		if err != nil {
			return nil, err
		}
		list = append(list, published...)
	}
	return list, nil
}

// stagedFiles lists the files below staging by the directory that is to appear
// at once: two levels deep where there are as many.
func stagedFiles(staging string) (map[string][]string, error) {
	groups := map[string][]string{}
	err := filepath.WalkDir(staging, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(staging, p)
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a directory", rel)
		}
		parts := strings.Split(rel, string(filepath.Separator))
		depth := min(2, len(parts)-1)
		dir := filepath.Join(parts[:depth]...)
		groups[dir] = append(groups[dir], filepath.Join(parts[depth:]...))
		return nil
	})
	return groups, err
}

func publishDir(from, to, host string, files []string, owner Owner) ([]Published, error) {
	if err := Writable(to); err != nil {
		return nil, err
	}
	if to != host { // what lies beside the output directory is not kbuild's
		if err := removeUnfinished(filepath.Dir(to)); err != nil {
			return nil, err
		}
	}
	list := make([]Published, 0, len(files))
	changed := map[string]bool{}
	for _, file := range files {
		if info, err := os.Lstat(filepath.Join(to, file)); err == nil && info.IsDir() {
			return nil, withHint(fmt.Errorf("%s is a directory where a file should be", filepath.Join(to, file)), "move it away")
		}
		same, err := sameBytes(filepath.Join(from, file), filepath.Join(to, file))
		if err != nil {
			return nil, err
		}
		changed[file] = !same
		list = append(list, Published{Path: filepath.Join(to, file), Changed: !same})
	}
	anyChanged := false
	for _, c := range changed {
		anyChanged = anyChanged || c
	}
	if !anyChanged {
		return list, nil
	}
	if err := makeDirs(filepath.Dir(to), owner); err != nil {
		return nil, err
	}
	next, err := os.MkdirTemp(filepath.Dir(to), unfinished+"*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(next)
	if err := os.Chmod(next, 0o755); err != nil {
		return nil, err
	}
	if err := keepOthers(to, next, changed, owner); err != nil {
		return nil, err
	}
	for _, file := range files {
		if !changed[file] {
			continue
		}
		if err := copyFile(filepath.Join(from, file), filepath.Join(next, file), owner); err != nil {
			return nil, err
		}
	}
	if err := os.Chown(next, owner.UID, owner.GID); err != nil {
		return nil, err
	}
	if to == host {
		// The output directory itself may be a mount or a link: its files
		// are renamed one by one.
		return list, renameEach(next, to, files, changed, owner)
	}
	return list, exchange(next, to, files, changed, owner)
}

// exchange puts the directory next where to is, in one step.
func exchange(next, to string, files []string, changed map[string]bool, owner Owner) error {
	err := unix.Renameat2(unix.AT_FDCWD, next, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return os.Rename(next, to)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EXDEV), errors.Is(err, unix.EBUSY):
		return renameEach(next, to, files, changed, owner)
	}
	return err
}

func renameEach(next, to string, files []string, changed map[string]bool, owner Owner) error {
	for _, file := range files {
		if !changed[file] {
			continue
		}
		if err := makeDirs(filepath.Dir(filepath.Join(to, file)), owner); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(next, file), filepath.Join(to, file)); err != nil {
			return err
		}
	}
	return nil
}

// keepOthers links what is published already, and stays, into next.
func keepOthers(to, next string, changed map[string]bool, owner Owner) error {
	return filepath.WalkDir(to, func(p string, d fs.DirEntry, err error) error {
		if notExist(err) && p == to {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(to, p)
		if err != nil || rel == "." || changed[rel] {
			return err
		}
		if d.IsDir() {
			return makeDirs(filepath.Join(next, rel), owner)
		}
		return os.Link(p, filepath.Join(next, rel))
	})
}

// copyFile copies rather than links: what is published must not change when
// the container writes to its own file again.
func copyFile(from, to string, owner Owner) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := makeDirs(filepath.Dir(to), owner); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Chown(owner.UID, owner.GID); err != nil {
		return err
	}
	return out.Chmod(info.Mode().Perm()&0o755 | 0o600)
}

// makeDirs is os.MkdirAll for a given owner.
func makeDirs(dir string, owner Owner) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := makeDirs(filepath.Dir(dir), owner); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return os.Chown(dir, owner.UID, owner.GID)
}

// sameBytes compares two files; a second one that is missing or no plain file
// is another.
func sameBytes(a, b string) (bool, error) {
	infoA, err := os.Lstat(a)
	if err != nil {
		return false, err
	}
	infoB, err := os.Lstat(b)
	if notExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !infoB.Mode().IsRegular() || infoA.Size() != infoB.Size() || infoA.Mode().Perm()&0o100 != infoB.Mode().Perm()&0o100 {
		return false, nil
	}
	fa, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return false, nil
	}
	defer fb.Close()
	bufA, bufB := make([]byte, 1<<18), make([]byte, 1<<18)
	for {
		n, errA := io.ReadFull(fa, bufA)
		m, errB := io.ReadFull(fb, bufB)
		if n != m || !bytes.Equal(bufA[:n], bufB[:m]) {
			return false, nil
		}
		if errA == io.EOF || errA == io.ErrUnexpectedEOF {
			return errB == errA, nil
		}
		if errA != nil {
			return false, errA
		}
		if errB != nil {
			return false, nil
		}
	}
}

// SeedStaging copies what is published into staging, for commands that use
// the binaries of earlier ones. Times are not kept: a tool that compares sizes
// and times takes none of them for its own output.
func SeedStaging(host, staging string) error {
	err := filepath.WalkDir(host, func(p string, d fs.DirEntry, err error) error {
		if notExist(err) && p == host {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(host, p)
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if same, err := sameBytes(p, filepath.Join(staging, rel)); err != nil || same {
			return err
		}
		if err := os.Remove(filepath.Join(staging, rel)); err != nil && !notExist(err) {
			return err
		}
		return copyFile(p, filepath.Join(staging, rel), self())
	})
	if err != nil {
		return fmt.Errorf("bring %s into the container: %w", host, err)
	}
	return nil
}

// Writable says whether dir can be made and written to, without making it: the
// nearest directory that exists decides. It is asked before the user namespace
// is entered, in which root may write wherever the user may.
func Writable(dir string) error {
	for d := dir; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if notExist(err) && d != filepath.Dir(d) {
			if _, err := os.Lstat(d); err == nil {
				return withHint(fmt.Errorf("%s is a link to nothing", d), "remove it, or make the directory it points to")
			}
			continue
		}
		if errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		if !info.IsDir() {
			return withHint(fmt.Errorf("%s is a file where a directory should be", d), "move it away")
		}
		if err := unix.Access(d, unix.W_OK|unix.X_OK); err != nil {
			return withHint(fmt.Errorf("%s is not writable: %w", d, err), "kbuild writes there; make it yours, or work in a copy of the tree")
		}
		return nil
	}
}
