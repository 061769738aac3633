package trust

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ofTree returns the level that a tree has by itself: it has one of its own, together
// with git's worktrees of the same repository.
func ofTree(root string) (Level, error) {
	path, err := filepath.EvalSymlinks(root)
	if err != nil {
		return Level{}, fmt.Errorf("find the real path of the tree: %w", err)
	}
	if common, ok := worktreeOf(path); ok {
		// The repository's main worktree, if it has one, is around its .git.
		if filepath.Base(common) == ".git" {
			common = filepath.Dir(common)
		}
		return Level{Key: "tree " + common}, nil
	}
	return Level{Key: "tree " + path}, nil
}

// worktreeOf returns the git directory of the repository that a tree is a linked
// worktree of, see gitrepository-layout(5). The tree's .git file says so, and
// anybody can write one: it counts only if the repository knows the tree as its
// worktree. git is not asked, as it believes the file.
func worktreeOf(root string) (common string, ok bool) {
	text, ok := line(filepath.Join(root, ".git"))
	dir, isLink := strings.CutPrefix(text, "gitdir: ")
	if !ok || !isLink {
		return "", false
	}
	own, err := resolve(root, dir)
	if err != nil || filepath.Base(filepath.Dir(own)) != "worktrees" {
		return "", false
	}
	back, ok := line(filepath.Join(own, "gitdir"))
	if !ok || filepath.Base(back) != ".git" {
		return "", false
	}
	// Relative since git 2.48 with worktree.useRelativePaths.
	known, err := resolve(own, filepath.Dir(back))
	if err != nil || known != root {
		return "", false
	}
	return filepath.Dir(filepath.Dir(own)), true
}

// resolve returns the real path of a name that is relative to a directory, or not.
func resolve(dir, name string) (string, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return filepath.EvalSymlinks(name)
}

// line reads a file of one line that is not a link, a pipe or long.
func line(name string) (string, bool) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > 2*unix.PathMax {
		return "", false
	}
	data, err := io.ReadAll(io.LimitReader(f, 2*unix.PathMax))
	text := strings.TrimRight(string(data), "\r\n")
	return text, err == nil && text != "" && !strings.ContainsAny(text, "\n\x00")
}
