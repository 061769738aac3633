package kube

import (
	"context"
)

// The trees of 1.0 and 1.1, 2015: as those of 1.2, but no registry has their
// base image. The scripts assemble it from build/build-image/cross/Dockerfile
// and name it kube-build:cross or kube-build:cross-1.4.2-1; and the Dockerfile
// of the build image itself fetches programs over the network.

// localRecipe describes a tree whose base image is assembled on the spot.
func localRecipe(ctx context.Context, t Tree, m marks) (Recipe, error) {
	r, err := addRecipe(ctx, t, m)
	if err != nil {
		return Recipe{}, err
	}
	r.Name, r.BaseLocal = "local", true
	file, err := readDockerfile(m.files, r.Dockerfile)
	if err != nil {
		return Recipe{}, err
	}
	r.NetworkSteps = networkSteps(file)
	return r, nil
}
