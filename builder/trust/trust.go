// Package trust knows levels of trust: what belongs together of all that one
// user builds, and what never meets. It decides the level of a tree from what the
// user said, from a CI system's variables and from git's directories, and names
// what kbuild keeps by it. It knows nothing of images or objects.
//
// A compile runs the tree's own scripts, and these can write anything into what
// is kept for the next run: objects, build images, a kube-cross. No filter tells
// the good from the bad, only who wrote it. So all that is kept belongs to a
// level, and nothing of one level is read in another.
package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"sync"
)

// A Level is a level of trust. Two levels are the same if their keys are.
type Level struct {
	// Name is what a person calls the level: the name given, or
	// "ci:REPOSITORY:REF". It is empty for the level that a tree has by
	// itself.
	Name string
	// Key identifies the level. Keys of levels that were named, that a CI
	// system's variables say and that trees have by themselves begin with
	// different words, so that none of one kind is one of another.
	Key string
}

// nameLength bounds the name of a level, in bytes.
const nameLength = 64

// nameSyntax leaves out the colon, which the levels of CI systems have.
var nameSyntax = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`) })

// Parse reads the name of a level, as a user gives it.
func Parse(name string) (Level, error) {
	if len(name) > nameLength || !nameSyntax().MatchString(name) {
		return Level{}, fmt.Errorf("level of trust %.40q: a name has up to %d letters, digits, dots, dashes, "+
			"underscores and slashes, and begins with a letter or a digit", name, nameLength)
	}
	return Level{Name: name, Key: "name " + name}, nil
}

// Of decides the level of the tree at root. It is given, unless that is the zero
// value; else what a CI system's variables say, where CI is set; else the tree's
// own. getenv is os.Getenv or a test's.
func Of(root string, given Level, getenv func(string) string) (Level, error) {
	if given.Key != "" {
		return given, nil
	}
	own, err := ofTree(root)
	if err != nil {
		return Level{}, err
	}
	return ofCI(own, getenv), nil
}

// ID returns the level in the names of files and in the records of images.
func (l Level) ID() string { return hash("level", l.Key) }

// TreeID names what kbuild keeps for the tree at root at this level: by the
// tree's real path, and not by anything that the tree says. The level is what
// follows the dash.
func (l Level) TreeID(root string) (string, error) {
	path, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", fmt.Errorf("find the real path of the tree: %w", err)
	}
	return hash("tree", path) + "-" + l.ID(), nil
}

// hash has 96 bits: who chooses the name of a branch cannot find one that has
// the hash of another.
func hash(kind, text string) string {
	sum := sha256.Sum256([]byte("kbuild " + kind + "\n" + text))
	return hex.EncodeToString(sum[:12])
}
