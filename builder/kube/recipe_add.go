package kube

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// The trees of 1.2, February to mid 2016: build/common.sh packs a list of
// source paths into kube-source.tar.gz, the Dockerfile ADDs that archive to
// gcr.io/google_containers/kube-cross, whose tag stands in build/common.sh,
// and the command runs in a container of that image with the directory of
// binaries bound to it.

const (
	crossTagName  = "KUBE_BUILD_IMAGE_CROSS_TAG"
	addDockerfile = "build/build-image/Dockerfile"
	addWorkdir    = "/go/src/k8s.io/kubernetes"
	addOutput     = addWorkdir + "/_output/dockerized"
)

// addRecipe describes a tree that ADDs its sources.
func addRecipe(_ context.Context, t Tree, m marks) (Recipe, error) {
	tag, err := m.common.value(crossTagName)
	if err != nil {
		return Recipe{}, err
	}
	// KUBE_ROOT is $PWD there, and the hash is md5sum's, without a newline.
	if !m.common.has(`^[^#\n]*\$\(kube::build::short_hash "\$(?:KUBE_ROOT|\{KUBE_ROOT\})"\)`) {
		return Recipe{}, fmt.Errorf(`%s: cannot find kube::build::short_hash "$KUBE_ROOT"`, m.common.name)
	}
	sum := md5.Sum([]byte(t.Root))
	id := hex.EncodeToString(sum[:])[:10]

	sources, err := listReader{t.Root, t.env("KUBERNETES_CONTRIB")}.printed(m.common, "kube::build::source_targets")
	if err != nil {
		return Recipe{}, err
	}
	bin := t.envOr("CUSTOM_OUTPUT_BINPATH", filepath.Join(t.Root, "_output", "dockerized", "bin"))
	if !filepath.IsAbs(bin) {
		bin = filepath.Join(t.Root, bin) // the scripts work in the root
	}
	r := Recipe{
		Name:        "add-1.2",
		Way:         WayArchive,
		BaseFrom:    m.common.name,
		PathID:      id,
		Context:     path.Join("_output/images", "kube-build:build-"+id),
		Dockerfile:  addDockerfile,
		SourceList:  sources,
		SourceFrom:  m.common.name,
		Archive:     "kube-source.tar.gz",
		VersionDefs: "kube-version-defs",
		VersionFile: "/kube-version-defs",
		Workdir:     addWorkdir,
		Command:     []string{"hack/build-go.sh"},
		Mounts: []Mount{
			{Host: bin, Container: addOutput + "/bin"},
			{Host: "/etc/localtime", Container: "/etc/localtime", ReadOnly: true},
		},
		Environment: []string{
			"KUBE_FASTBUILD=" + t.envOr("KUBE_FASTBUILD", "false"),
			// bash sets OSTYPE without exporting it, and keeps one that it is
			// given; "linux-gnu" is what it sets here.
			"KUBE_BUILDER_OS=" + t.envOr("OSTYPE", "linux-gnu"),
		},
		Persistent: []string{addOutput + "/go", addWorkdir + "/Godeps/_workspace/pkg"},
		Outputs:    []Output{{Container: addOutput + "/bin", Host: bin}},
		fills: []fill{
			{crossTagName, tag},
			{"KUBE_BUILD_HTTP_PROXY", t.envOr("KUBE_BUILD_HTTP_PROXY", `""`)},
			{"KUBE_BUILD_HTTPS_PROXY", t.envOr("KUBE_BUILD_HTTPS_PROXY", `""`)},
			{"KUBE_BUILD_NO_PROXY", t.envOr("KUBE_BUILD_NO_PROXY", "127.0.0.1")},
		},
	}
	if contrib := t.env("KUBERNETES_CONTRIB"); contrib != "" {
		r.Environment = append(r.Environment, "KUBERNETES_CONTRIB="+contrib)
	}
	if r.tools, err = addTools(t.Root); err != nil {
		return Recipe{}, err
	}
	t.Recipe = r
	if r.BaseImage, err = t.baseImage(); err != nil {
		return Recipe{}, err
	}
	return r, nil
}

// addTools are the programs that hack/build-go.sh and what it sources call:
// those that a trace of a run of release-1.2 showed, as far as this tree's
// scripts call them, and those that a tree without rsync needs for copying.
func addTools(root string) ([]string, error) {
	var text strings.Builder
	for _, name := range []string{
		"hack/build-go.sh", "hack/lib/init.sh", versionFile, golangFile, "cluster/lib/logging.sh",
	} {
		s, err := readScript(root, name)
		if isMissing(err) {
			continue // small trees have fewer
		}
		if err != nil {
			return nil, withHint(err, "make the file readable for yourself")
		}
		text.WriteString(s.text)
		text.WriteString("\n")
	}
	tools := []string{"bash"}
	for _, tool := range []string{
		"basename", "cp", "date", "dirname", "find", "grep", "ln", "mkdir", "rm", "rsync", "stat", "which", "whoami",
	} {
		called := regexp.MustCompile(`(?m)(?:^|[|;&(!{` + "`" + `]|\b(?:then|else|do|if|while|until|-exec)\b)[ \t]*` + tool + `(?:[ \t)` + "`" + `]|$)`)
		if called.MatchString(text.String()) {
			tools = append(tools, tool)
		}
	}
	return tools, nil
}
