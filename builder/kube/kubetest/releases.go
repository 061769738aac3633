package kubetest

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// The directory is called testdata so that the go command does not take its
// programs for packages of this module.
//
//go:embed all:testdata/release12 all:testdata/local all:testdata/make all:testdata/sync all:testdata/mount
var trees embed.FS

// embeddedTag is the tag of kube-cross that the embedded trees name.
const embeddedTag = "v1.4.2-1"

// tagSyntax is what a registry accepts as a tag; it also keeps what is written
// into a shell script harmless.
var tagSyntax = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
})

// A release says how the tree of one release comes from the embedded ones.
type release struct {
	name string
	// layers are directories of testdata; of two files of one name that of
	// the later layer counts.
	layers []string
	// drop are prefixes of names in the first layer that are left out.
	drop []string
	// rename are prefixes of names, and what they become.
	rename []string
	// edit are, for a file, texts and what takes their places. Each must be
	// there.
	edit map[string][]string
}

const (
	commonFile = "build/common.sh"
	golangFile = "hack/lib/golang.sh"
	initFile   = "hack/lib/init.sh"
)

// Since 1.4 make is called, generates code and compiles; dependencies lie in
// vendor.
var (
	sinceMake = []string{
		"    plugin/cmd/kube-scheduler\n", "    plugin/cmd/kube-scheduler\n    cmd/kubeadm\n",
		"    example.com/greet/hello\n", "    vendor/example.com/greet/hello\n",
		":${KUBE_ROOT}/Godeps/_workspace\"", "\"",
	}
	godepsToVendor = []string{"Godeps/_workspace/src/", "vendor/"}
	notCommitted   = []string{
		"/Godeps/_workspace/pkg\n/Godeps/_workspace/bin\n",
		"/.make\nzz_generated.*\n/.dockerized-kube-version-defs\n",
	}
	// A list is read with read, and flags are GOFLAGS and GOLDFLAGS.
	sinceRead = []string{
		"readonly KUBE_SERVER_TARGETS=($(kube::golang::server_targets))\n",
		"IFS=\" \" read -ra KUBE_SERVER_TARGETS <<< \"$(kube::golang::server_targets)\"\nreadonly KUBE_SERVER_TARGETS\n",
		"readonly KUBE_TEST_TARGETS=($(kube::golang::test_targets))\n",
		"IFS=\" \" read -ra KUBE_TEST_TARGETS <<< \"$(kube::golang::test_targets)\"\nreadonly KUBE_TEST_TARGETS\n",
		"    test/e2e/e2e.test\n  )\n",
		"  )\n\n  if [[ \"${OSTYPE:-}\" == \"linux\"* ]]; then\n    targets+=( test/e2e/e2e.test )\n  fi\n\n",
		"${KUBE_GOFLAGS:-}", "${GOFLAGS:-}",
		"${KUBE_GOLDFLAGS:-}", "${GOLDFLAGS:-}",
	}
	verbosity = []string{
		"# Says what is going on.\n", "KUBE_VERBOSE=\"${KUBE_VERBOSE:-5}\"\n\n# Says what is going on.\n",
		"  pwd\n", "  pwd -P\n",
	}
)

// The base image of 1.0 and 1.1 is made on the spot, and their containers know
// neither the time zone nor KUBE_FASTBUILD.
var localCommon = []string{
	"    --volume /etc/localtime:/etc/localtime:ro \\\n", "",
	"    --env \"KUBE_FASTBUILD=${KUBE_FASTBUILD:-false}\" \\\n    --env \"KUBE_BUILDER_OS=${OSTYPE:-notdetected}\" \\\n",
	"",
	"  sed -i \"s#KUBE_BUILD_HTTP_PROXY#${KUBE_BUILD_HTTP_PROXY:-\\\"\\\"}#\" \"${file}\"\n", "",
	"  sed -i \"s#KUBE_BUILD_HTTPS_PROXY#${KUBE_BUILD_HTTPS_PROXY:-\\\"\\\"}#\" \"${file}\"\n", "",
	"  sed -i \"s#KUBE_BUILD_NO_PROXY#${KUBE_BUILD_NO_PROXY:-127.0.0.1}#\" \"${file}\"\n", "",
}

var releases = []release{{
	name: "1.0", layers: []string{"release12", "local"}, drop: []string{"build/build-image/cross"},
	edit: map[string][]string{commonFile: append([]string{
		"readonly KUBE_BUILD_IMAGE_CROSS_TAG=\"v1.4.2-1\"\n",
		"readonly KUBE_BUILD_IMAGE_CROSS_TAG=cross\n" +
			"readonly KUBE_BUILD_IMAGE_CROSS=\"${KUBE_BUILD_IMAGE_REPO}:${KUBE_BUILD_IMAGE_CROSS_TAG}\"\n",
		"  sed -i \"s/KUBE_BUILD_IMAGE_CROSS_TAG/${KUBE_BUILD_IMAGE_CROSS_TAG}/\" \"${file}\"\n", "  true\n",
	}, localCommon...)},
}, {
	name: "1.1", layers: []string{"release12", "local"}, drop: []string{"build/build-image/cross"},
	edit: map[string][]string{
		"build/build-image/Dockerfile": {"FROM kube-build:cross\n", "FROM KUBE_BUILD_IMAGE_CROSS\n"},
		commonFile: append([]string{
			"readonly KUBE_BUILD_IMAGE_CROSS_TAG=\"v1.4.2-1\"\n",
			"readonly KUBE_BUILD_GOLANG_VERSION=1.4.2\n" +
				"readonly KUBE_BUILD_IMAGE_CROSS_TAG=\"cross-${KUBE_BUILD_GOLANG_VERSION}-1\"\n" +
				"readonly KUBE_BUILD_IMAGE_CROSS=\"${KUBE_BUILD_IMAGE_REPO}:${KUBE_BUILD_IMAGE_CROSS_TAG}\"\n",
			"s/KUBE_BUILD_IMAGE_CROSS_TAG/${KUBE_BUILD_IMAGE_CROSS_TAG}/", "s/KUBE_BUILD_IMAGE_CROSS/${KUBE_BUILD_IMAGE_CROSS}/",
		}, localCommon...),
	},
}, {
	name: "1.2", layers: []string{"release12"},
}, {
	name: "1.4", layers: []string{"release12", "make"}, drop: []string{"Godeps/Godeps.json", "hack/build-go.sh"},
	rename: godepsToVendor,
	edit: map[string][]string{
		golangFile: sinceMake, ".gitignore": notCommitted, initFile: verbosity,
		"build/build-image/cross/VERSION": {"v0.0.0-unread", embeddedTag},
		"build/build-image/Dockerfile": {
			"ENV http_proxy=KUBE_BUILD_HTTP_PROXY \\\n  https_proxy=KUBE_BUILD_HTTPS_PROXY \\\n" +
				"  no_proxy=KUBE_BUILD_NO_PROXY\n\n", "",
		},
		commonFile: {
			"KUBE_ROOT=$(dirname \"${BASH_SOURCE}\")/..\ncd \"${KUBE_ROOT}\"\nKUBE_ROOT=$PWD\n",
			"KUBE_ROOT=$(cd $(dirname \"${BASH_SOURCE}\")/.. && pwd -P)\ncd \"${KUBE_ROOT}\"\n",
			"=\"v1.4.2-1\"", "=\"$(cat ${KUBE_ROOT}/build/build-image/cross/VERSION)\"",
			"${KUBE_ROOT}/_output", "${KUBE_ROOT}/${OUT_DIR:-_output}",
			"${CUSTOM_OUTPUT_BINPATH:-$LOCAL_OUTPUT_BINPATH}", "${LOCAL_OUTPUT_BINPATH}",
			"short_hash \"${KUBE_ROOT}\")", "short_hash \"${HOSTNAME:-}:${KUBE_ROOT}\")",
			"    build\n    cmd\n    docs\n    Godeps/_workspace/src\n    Godeps/Godeps.json\n    hack\n    LICENSE\n" +
				"    pkg\n    plugin\n" +
				"    README.md\n    test\n    contrib/completions/bash/kubectl\n    .generated_docs\n",
			"      $(find . -mindepth 1 -maxdepth 1 -not \\(        \\\n          \\( -path ./_\\* -o -path ./.git\\* \\) " +
				"-prune  \\\n        \\))\n",
			"    --volume \"${REMOTE_GODEP_GOPATH}\" \\\n", "",
			"  sed -i \"s#KUBE_BUILD_HTTP_PROXY#${KUBE_BUILD_HTTP_PROXY:-\\\"\\\"}#\" \"${file}\"\n", "",
			"  sed -i \"s#KUBE_BUILD_HTTPS_PROXY#${KUBE_BUILD_HTTPS_PROXY:-\\\"\\\"}#\" \"${file}\"\n", "",
			"  sed -i \"s#KUBE_BUILD_NO_PROXY#${KUBE_BUILD_NO_PROXY:-127.0.0.1}#\" \"${file}\"\n", "",
		},
	},
}, {
	// The scripts are in build-tools, and the branch is not in any name.
	name: "1.5", layers: []string{"release12", "make", "sync"}, drop: []string{"Godeps/Godeps.json", "hack/build-go.sh"},
	rename: append([]string{"build/", "build-tools/"}, godepsToVendor...),
	edit: map[string][]string{
		golangFile: sinceMake, ".gitignore": notCommitted, initFile: verbosity,
		"build-tools/build-image/Dockerfile": {"k8s.gcr.io/build-image/", "gcr.io/google_containers/"},
		"build-tools/run.sh":                 {"${KUBE_ROOT}/build/", "${KUBE_ROOT}/build-tools/"},
		"build-tools/common.sh": {
			"${KUBE_ROOT}/build/", "${KUBE_ROOT}/build-tools/",
			"  KUBE_GIT_BRANCH=$(git symbolic-ref --short -q HEAD 2>/dev/null || true)\n", "",
			":${KUBE_GIT_BRANCH}", "",
			"    --env \"GOFLAGS=${GOFLAGS:-}\"\n", "", "    --env \"GOGCFLAGS=${GOGCFLAGS:-}\"\n", "",
			"    --env \"KUBE_BUILD_PLATFORMS=${KUBE_BUILD_PLATFORMS:-}\"\n", "",
			"    --env \"SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-}\"\n", "",
			"  if [[ -v GOLDFLAGS ]]; then\n    docker_run_opts+=(\n      --env \"GOLDFLAGS=${GOLDFLAGS:-}\"\n    )\n  fi\n", "",
			"'H /.git'", "'- /.git/'", "'H zz_generated.*'", "'- zz_generated.*'",
			"    --filter='+ types.go' \\\n", "",
			"KUBERNETES_HTTPS_PROXY", "UNUSED_HTTPS_PROXY", "KUBERNETES_HTTP_PROXY", "UNUSED_HTTP_PROXY",
		},
	},
}, {
	name: "1.20", layers: []string{"release12", "make", "sync"}, drop: []string{"Godeps/Godeps.json", "hack/build-go.sh"},
	rename: godepsToVendor,
	edit: map[string][]string{
		golangFile: slices.Concat(sinceMake, sinceRead), ".gitignore": notCommitted, initFile: verbosity,
	},
}, {
	// Images are build arguments, and generated code is committed.
	name: "1.28", layers: []string{"release12", "make", "sync"}, drop: []string{"Godeps/Godeps.json", "hack/build-go.sh"},
	rename: godepsToVendor,
	edit: map[string][]string{
		golangFile: slices.Concat(sinceMake, sinceRead), ".gitignore": notCommitted, initFile: verbosity,
		"build/build-image/Dockerfile": {
			"FROM k8s.gcr.io/build-image/kube-cross:KUBE_BUILD_IMAGE_CROSS_TAG\n",
			"ARG KUBE_CROSS_IMAGE\nARG KUBE_CROSS_VERSION\nFROM ${KUBE_CROSS_IMAGE}:${KUBE_CROSS_VERSION}\n",
		},
		commonFile: {
			"\nreadonly LOCAL_OUTPUT_ROOT=",
			"readonly KUBE_BASE_IMAGE_REGISTRY=\"${KUBE_BASE_IMAGE_REGISTRY:-registry.k8s.io/build-image}\"\n" +
				"readonly KUBE_CROSS_IMAGE=\"${KUBE_CROSS_IMAGE:-\"${KUBE_BASE_IMAGE_REGISTRY}/kube-cross\"}\"\n" +
				"readonly KUBE_CROSS_VERSION=\"${KUBE_CROSS_VERSION:-\"${KUBE_BUILD_IMAGE_CROSS_TAG}\"}\"\n\n" +
				"readonly LOCAL_OUTPUT_ROOT=",
			"  kube::build::update_dockerfile\n", "",
			"  docker build -t \"${KUBE_BUILD_IMAGE}\"",
			"  docker build -t \"${KUBE_BUILD_IMAGE}\" --build-arg=KUBE_CROSS_IMAGE=${KUBE_CROSS_IMAGE} " +
				"--build-arg=KUBE_CROSS_VERSION=${KUBE_CROSS_VERSION}",
			"# Replaces the placeholder of the Dockerfile in the build context.\nfunction kube::build::update_dockerfile() {\n" +
				"  sed -i \"s/KUBE_BUILD_IMAGE_CROSS_TAG/${KUBE_BUILD_IMAGE_CROSS_TAG}/\" " +
				"\"${LOCAL_OUTPUT_BUILD_CONTEXT}/Dockerfile\"\n}\n\n", "",
			"    --filter='H /.git' \\\n    --filter='- /.make/' \\\n", "", "    --filter='H zz_generated.*' \\\n", "",
		},
	},
}, {
	name: "1.35", layers: []string{"release12", "make", "mount"},
	drop: []string{"Godeps/Godeps.json", "hack/build-go.sh", "build/"}, rename: godepsToVendor,
	edit: map[string][]string{
		golangFile: slices.Concat(sinceMake, sinceRead, []string{
			"  unset GOBIN\n", "  unset GOBIN\n  export GOCACHE=\"${KUBE_GOPATH}/cache/build\"\n",
			"    goldflags=", "    [[ -z \"${KUBE_RACE:-}\" ]] || goflags+=(\"${KUBE_RACE}\")\n    goldflags=",
		}),
		".gitignore": notCommitted, initFile: verbosity,
	},
}}

// Releases returns the names that [Write] knows, in their order.
func Releases() []string {
	var names []string
	for _, r := range releases {
		names = append(names, r.name)
	}
	return names
}

// Write writes a tree shaped like a release of Kubernetes, such as "1.20", to
// dir, which is made if it is missing. Its base image is kube-cross with the
// tag crossTag, such as "v1.4.3-1"; an empty one means v1.4.2-1. That of 1.1 is
// kube-build:cross-1.4.3-1 then, and that of 1.0 is always kube-build:cross.
//
// Its targets are cmd/kubelet, plugin/cmd/kube-scheduler, cmd/kubectl,
// example.com/greet/hello (from Godeps, later from vendor) and
// test/e2e/e2e.test. They compile without cgo under Go 1.4 and every later Go,
// in GOPATH mode. The kubelet prints pkg/kubelet.Message, and its version after
// --version. Since 1.4 the tree is compiled by make, and there is cmd/kubeadm,
// which prints what make has generated from pkg/api/types.go.
func Write(name, dir, crossTag string) error {
	if crossTag == "" {
		crossTag = embeddedTag
	}
	if !tagSyntax().MatchString(crossTag) {
		return fmt.Errorf("unpack a tree of %s: %q is not an image tag", name, crossTag)
	}
	i := slices.IndexFunc(releases, func(r release) bool { return r.name == name })
	if i < 0 {
		return fmt.Errorf("unpack a tree of %s: there are those of %s", name, strings.Join(Releases(), ", "))
	}
	if err := releases[i].unpack(dir, crossTag); err != nil {
		return fmt.Errorf("unpack a tree of %s: %w", name, err)
	}
	return nil
}

// Release12 writes a tree shaped like Kubernetes release-1.2.
func Release12(dir, crossTag string) error { return Write("1.2", dir, crossTag) }

// unpack writes the release to dir.
func (r release) unpack(dir, crossTag string) error {
	files := map[string]string{}
	for i, layer := range r.layers {
		from := "testdata/" + layer
		err := fs.WalkDir(trees, from, func(p string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name := strings.TrimPrefix(p, from+"/")
			if i == 0 && slices.ContainsFunc(r.drop, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
				return nil
			}
			content, err := trees.ReadFile(p)
			files[r.renamed(name)] = string(content)
			return err
		})
		if err != nil {
			return err
		}
	}
	for name, pairs := range r.edit {
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(files[name], pairs[i]) {
				return fmt.Errorf("%s does not hold %q", name, pairs[i])
			}
			files[name] = strings.ReplaceAll(files[name], pairs[i], pairs[i+1])
		}
	}
	// 1.1 has the version of Go, without the letter and the revision.
	goVersion, _, _ := strings.Cut(strings.TrimPrefix(crossTag, "v"), "-")
	for name, content := range files {
		if strings.HasSuffix(name, "common.sh") || strings.HasSuffix(name, "cross/VERSION") {
			content = strings.NewReplacer(embeddedTag, crossTag, "GOLANG_VERSION=1.4.2\n",
				"GOLANG_VERSION="+goVersion+"\n").Replace(content)
		}
		if err := write(dir, name, content); err != nil {
			return err
		}
	}
	return nil
}

func (r release) renamed(name string) string {
	for i := 0; i < len(r.rename); i += 2 {
		if rest, ok := strings.CutPrefix(name, r.rename[i]); ok {
			name = r.rename[i+1] + rest
			break
		}
	}
	// A .gitignore would already be in force where this package is kept.
	if path.Base(name) == "dot-gitignore" {
		name = path.Join(path.Dir(name), ".gitignore")
	}
	return name
}

// write writes a file below dir. Embedded files have neither execute bits nor
// times: scripts get the former back, and the times are those of the writing.
// The umask has no say: chmod gives everything below dir its mode.
func write(dir, name, content string) error {
	at := dir
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	for _, element := range strings.Split(path.Dir(name), "/") {
		at = filepath.Join(at, element)
		if err := os.Mkdir(at, 0o755); err != nil && !os.IsExist(err) {
			return err
		}
		if at != filepath.Clean(dir) {
			if err := os.Chmod(at, 0o755); err != nil {
				return err
			}
		}
	}
	mode := fs.FileMode(0o644)
	if path.Ext(name) == ".sh" {
		mode = 0o755
	}
	target := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.WriteFile(target, []byte(content), mode); err != nil {
		return err
	}
	return os.Chmod(target, mode)
}
