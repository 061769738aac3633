package kube

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// crossDockerfile is shaped like that of September 2016.
const crossDockerfile = `FROM golang:1.6.3
MAINTAINER somebody
ENV GOARM 6
ENV KUBE_CROSSPLATFORMS \
  linux/386 \
  linux/arm
RUN for platform in ${KUBE_CROSSPLATFORMS}; do GOOS=${platform%/*} GOARCH=${platform##*/} go install std; done
RUN apt-get update \
  && apt-get install -y g++ rsync \
  && rm -rf /var/lib/apt/lists/*
RUN mkdir -p /usr/local/src/tool && curl -sSL https://example.com/tool.tar.gz | tar -xz
ENV TMPDIR /tmp.small
RUN mkdir $TMPDIR \
  && chmod a+rwx $TMPDIR \
  && chmod o+t $TMPDIR \
  && go get example.com/cmd/cover \
            example.com/who/maker
ENV SECOND_VERSION=1.7.1 \
    SECOND_GOROOT=/usr/local/go_second
RUN mkdir -p ${SECOND_GOROOT} && curl -sSL https://example.com/go${SECOND_VERSION}.tar.gz | tar -xz -C ${SECOND_GOROOT}
COPY some.patch ${SECOND_GOROOT}/
RUN cd ${SECOND_GOROOT} && ./make.bash
`

// TestCrossOutfit holds what stands in the place of the tree's own Dockerfile of
// its base image: what the build image and the scripts take from it is there.
func TestCrossOutfit(t *testing.T) {
	tree := openTree(t, smallTree(t, map[string]string{
		"build/build-image/cross/Dockerfile": crossDockerfile,
		"build/build-image/Dockerfile": "FROM gcr.io/google_containers/kube-cross:KUBE_BUILD_IMAGE_CROSS_TAG\n" +
			"RUN chmod -R a+rwx /usr/local/go/pkg ${SECOND_GOROOT}/pkg\nENV HOME /go/src/x\nWORKDIR ${HOME}\n" +
			"RUN chmod a+rwx $GOPATH && for x in 1 2; do echo $x; done\n" +
			"ADD kube-source.tar.gz /go/src/x\n",
	}))
	got, err := tree.CrossOutfit("/usr/local/go")
	if err != nil {
		t.Fatal(err)
	}
	environment := []string{
		"GOARM=6", "KUBE_CROSSPLATFORMS=linux/386   linux/arm", "TMPDIR=/tmp.small", "SECOND_VERSION=1.7.1",
		"SECOND_GOROOT=/usr/local/go",
	}
	if !slices.Equal(got.Environment, environment) {
		t.Errorf("environment: %q, want %q", got.Environment, environment)
	}
	directories := []CrossDirectory{{"/tmp.small", 0o777 | fs.ModeSticky}}
	if !slices.Equal(got.Directories, directories) {
		t.Errorf("directories: %v, want %v", got.Directories, directories)
	}
	var steps []string
	for _, s := range got.Steps {
		first, _, _ := strings.Cut(s.Text, " ")
		steps = append(steps, first+": "+strings.Join(s.Done, "; ")+" | "+strings.Join(s.Left, "; "))
	}
	want := []string{
		"FROM: the root file system, and Go in /usr/local/go | ",
		"ENV: GOARM is set | ",
		"ENV: KUBE_CROSSPLATFORMS is set | ",
		"RUN:  | " + leftLibrary,
		"RUN:  | " + leftPackages,
		"RUN:  | https://example.com/tool.tar.gz " + leftDownload,
		"ENV: TMPDIR is set | ",
		"RUN: /tmp.small is made | cover, maker: those that the tree's scripts run have to be in the root file system",
		"ENV: SECOND_VERSION is set; SECOND_GOROOT=/usr/local/go, for there is one toolchain | ",
		"RUN:  | " + leftSecond,
		"COPY:  | it is for a step that is left out",
		"RUN:  | " + leftSecond,
	}
	if !slices.Equal(steps, want) {
		t.Errorf("steps: %q, want %q", steps, want)
	}
}

// TestCrossOutfitOfUnsetVariable holds that a step which would work on "/pkg"
// instead of "$ROOT/pkg" is refused before anything is made.
func TestCrossOutfitOfUnsetVariable(t *testing.T) {
	tree := openTree(t, smallTree(t, map[string]string{
		"build/build-image/Dockerfile": "FROM gcr.io/google_containers/kube-cross:KUBE_BUILD_IMAGE_CROSS_TAG\n" +
			"RUN chmod a+rwx ${SOME_DIRECTORY}/pkg\nADD kube-source.tar.gz /go/src/x\n",
	}))
	_, err := tree.CrossOutfit("/usr/local/go")
	if !isA[*UnsetVariableError](err) || !strings.Contains(err.Error(), "line 2: SOME_DIRECTORY") {
		t.Errorf("%v", err)
	}
}

func TestChangedMode(t *testing.T) {
	for _, test := range []struct {
		change string
		want   fs.FileMode
	}{
		{"a+rwx", 0o777}, {"+x", 0o755}, {"g+w", 0o775}, {"o+t", 0o755 | fs.ModeSticky},
		{"1777", 0o777 | fs.ModeSticky}, {"700", 0o700}, {"u=rwx,go=", 0o755},
	} {
		if got := changedMode(0o755, test.change); got != test.want {
			t.Errorf("chmod %s: %v, want %v", test.change, got, test.want)
		}
	}
}

// TestToolsOfGeneratedFiles holds that a program which the scripts run before Go
// compiles, and which comes with the base image, is among its tools: without
// it the compile would fail in its middle.
func TestToolsOfGeneratedFiles(t *testing.T) {
	read := func(golang string) []string {
		root := smallTree(t, map[string]string{
			"build/build-image/cross/Dockerfile": crossDockerfile,
			"test/made.go":                       "//go:generate ../hack/update-made.sh\n\npackage test\n",
			"hack/update-made.sh":                "if ! which maker &>/dev/null; then\n  exit 5\nfi\nmaker -o x\n",
		})
		tree := openTree(t, root)
		script, err := tree.ReadFile(golangFile, maxFile)
		if err != nil {
			t.Fatal(err)
		}
		writeFiles(t, root, map[string]string{golangFile: string(script) + golang})
		return openTree(t, root).Recipe.Tools
	}
	const generates = "\nx() {\n  readonly BINDATAS=( \"${KUBE_ROOT}/test/made.go\" )\n  go generate \"${bindata}\"\n}\n"
	if tools := read(generates); !slices.Contains(tools, "maker") || slices.Contains(tools, "cover") {
		t.Errorf("tools are %q, want maker among them, and not cover", tools)
	}
	if tools := read(""); slices.Contains(tools, "maker") {
		t.Errorf("tools are %q, and nothing runs maker", tools)
	}
	compiles := generates + "readonly TOOLS=(\n  vendor/example.com/who/maker\n)\n"
	if tools := read(compiles); slices.Contains(tools, "maker") {
		t.Errorf("tools are %q, and the scripts compile maker", tools)
	}
}
