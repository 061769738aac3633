package kube

import (
	"fmt"
	"path"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/dockerfile"
	"github.com/kbuild/kbuild/builder/kube/golang"
)

// CrossBases returns the images that the tree's own Dockerfile of its base image
// begins with, as it names them: "golang:1.4.2". Its own stages are not among
// them. A tree without such a Dockerfile is an error.
func (t Tree) CrossBases() ([]string, error) {
	_, bases, err := t.crossDockerfile()
	var names []string
	for _, b := range bases {
		names = append(names, b.Image)
	}
	return names, err
}

// CrossBuildfile returns the tree's own Dockerfile of its base image, with other
// words for the images it begins with: ids, where a name would be looked for.
func (t Tree) CrossBuildfile(ids map[string]string) ([]byte, error) {
	file, bases, err := t.crossDockerfile()
	if err != nil {
		return nil, err
	}
	return file.WithBases(bases, ids), nil
}

// A NoCrossDockerfileError says that a tree does not have the Dockerfile that its
// base image is made from.
type NoCrossDockerfileError struct {
	// Root is the tree.
	Root string
}

// Error implements error.
func (e *NoCrossDockerfileError) Error() string {
	return e.Root + " has no Dockerfile of its base image"
}

func (t Tree) crossDockerfile() (dockerfile.File, []dockerfile.Base, error) {
	name := t.Recipe.CrossDockerfile
	if name == "" {
		return dockerfile.File{}, nil, &NoCrossDockerfileError{Root: t.Root}
	}
	root, err := t.open()
	if err != nil {
		return dockerfile.File{}, nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer root.Close()
	file, err := readDockerfile(root, name)
	if err != nil {
		return dockerfile.File{}, nil, err
	}
	bases, err := file.Bases(nil)
	if err != nil {
		return dockerfile.File{}, nil, err
	}
	var written []string
	for _, b := range bases {
		written = append(written, b.Written)
	}
	return file, bases, file.Check(written...)
}

// CrossGo returns the release of Go that the base image has to have: what its name
// promises, else what the tree's own Dockerfile of it begins with. golang:1.4
// is "1.4": any patch release, the newest best.
func (t Tree) CrossGo() (string, bool) {
	if v, ok := GoPromised(t.Recipe.BaseImage); ok {
		return v.String(), true
	}
	bases, err := t.CrossBases()
	if err != nil || len(bases) == 0 {
		return "", false
	}
	image, _, _ := strings.Cut(bases[len(bases)-1], "@")
	repository, tag, _ := strings.Cut(path.Base(image), ":")
	tag, _, _ = strings.Cut(tag, "-") // 1.15.5-buster
	if _, ok := golang.Parse(tag); !ok || repository != "golang" {
		return "", false
	}
	return tag, true
}
