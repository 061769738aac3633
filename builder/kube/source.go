package kube

import (
	"archive/tar"
	"context"
	"io"

	"github.com/kbuild/kbuild/builder/kube/git"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// sourceSet says which files of the tree are its sources: what the list of its
// scripts names, or what their filter includes.
func (t Tree) sourceSet() sources.Set {
	s := sources.Set{Root: t.Root, Filter: t.Recipe.SourceFilter, From: t.Recipe.SourceFrom}
	if t.Recipe.Way == WayArchive {
		s.List = append([]string{}, t.Recipe.SourceList...)
	}
	return s
}

// Sources reads and describes the tree's sources; see [sources.Set.Read].
func (t Tree) Sources(ctx context.Context) (sources.Manifest, error) {
	return t.sourceSet().Read(ctx)
}

// SourcesSince is [Tree.Sources] for a caller who kept the fingerprint of an
// earlier look at this tree; see [sources.Set.ReadSince].
func (t Tree) SourcesSince(ctx context.Context, before sources.Fingerprint) (
	sources.Manifest, sources.Fingerprint, error,
) {
	return t.sourceSet().ReadSince(ctx, before)
}

// WriteArchive writes the sources that m describes to w as a tar.gz; see
// [sources.WriteArchive].
func (t Tree) WriteArchive(ctx context.Context, w io.Writer, m sources.Manifest) error {
	return sources.WriteArchive(ctx, t.Root, w, m)
}

// WriteEntries writes the entries of m to an archive that the caller begins and
// ends, below the directory prefix; see [sources.WriteEntries].
func (t Tree) WriteEntries(ctx context.Context, w *tar.Writer, prefix string, m sources.Manifest) error {
	return sources.WriteEntries(ctx, t.Root, w, prefix, m)
}

// Ignored returns those of the paths, relative to Root, that git ignores.
func (t Tree) Ignored(ctx context.Context, paths []string) ([]string, error) {
	return git.Repository{Root: t.Root}.Ignored(ctx, paths)
}
