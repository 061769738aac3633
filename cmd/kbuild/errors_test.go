package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/cross"
	"github.com/kbuild/kbuild/builder/cross/toolchain"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/dockerfile"
	"github.com/kbuild/kbuild/builder/kube/git"
	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/builder/output"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/opencontainers/go-digest"
)

// TestErrors holds what users read of each error that has a type, and the hint
// that goes with it. A type that is missing here fails the test.
func TestErrors(t *testing.T) {
	t.Setenv("HOME", "/home/user")
	base := named(t, "gcr.io/google_containers/kube-cross:v1.4.2-1")
	var text strings.Builder
	seen := map[string]bool{}
	for _, err := range everyError(t, base) {
		of := reflect.TypeOf(err)
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		seen[of.String()] = true
		fmt.Fprintf(&text, "%s\n", of)
		if owner := (*mirror.OwnerError)(nil); errors.As(err, &owner) {
			// Its hint depends on the ids of this host: TestHostHints has it.
			err = errors.New(err.Error())
		}
		report(&text, err)
		text.WriteString("\n")
	}
	for _, err := range []error{
		storage.ErrNotFound, storage.ErrInUse, image.ErrWhiteout, git.ErrNotInstalled, files.ErrLink, files.ErrNotRegular,
		files.ErrTooLarge, syscall.EROFS,
	} {
		report(&text, fmt.Errorf("open the object: %w", err))
		text.WriteString("\n")
	}
	golden(t, "errors.golden", text.String())
	for _, name := range errorTypes(t) {
		if !seen[name] {
			t.Errorf("everyError has no %s", name)
		}
	}
}

func cachePlace(t *testing.T) mirror.CachePlace {
	t.Helper()
	place, err := mirror.ParseCachePlace("oci:/k/cache")
	if err != nil {
		t.Fatal(err)
	}
	return place
}

func named(t *testing.T, name string) reference.Named {
	t.Helper()
	n, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// everyError returns at least one error of each type.
func everyError(t *testing.T, want reference.Named) []error {
	t.Helper()
	cause := errors.New("the cause")
	sum := func(c string) digest.Digest { return digest.Digest("sha256:" + strings.Repeat(c, 64)) }
	registry, err := mirror.ParseSource("m.example/x")
	if err != nil {
		t.Fatal(err)
	}
	list := append(treeErrors(cause), mirrorErrors(registry, want, cause, sum)...)
	for why := range 5 {
		list = append(list, &output.PlaceError{Path: "/k/_output", Why: output.Why(why), Err: cause})
	}
	for why := range 3 {
		list = append(list, &cross.ArchiveError{Why: cross.Why(why), Err: cause, Dir: "usr"})
	}
	for why := range 8 {
		list = append(list, &toolchain.Error{Why: toolchain.Why(why), Err: cause, Near: "1.15.15"})
	}
	return append(list,
		&builder.InputError{Input: builder.InputTargets, Err: cause},
		&builder.NoBaseError{Err: cause}, &builder.NoBaseError{Err: cause, Dockerfile: "build/cross/Dockerfile"},
		&builder.NotAssembledError{Err: cause},
		&builder.NotLockedError{Image: want.String(), File: "/k/kbuild.lock"},
		&builder.NotLockedError{Image: want.String(), File: "/k/kbuild.lock", Frozen: true},
		&builder.OfflineError{What: "kbuild cross"}, &builder.OfflineError{What: "Go 1.15.15", Go: true},
		&builder.CacheWrongError{Place: cachePlace(t), Objects: 2, Of: 9}, &builder.NotCachedError{Place: cachePlace(t)},
		&builder.NothingKeptError{}, &builder.CacheInTreeError{Place: cachePlace(t), Output: "/k/_output"},
		&builder.CacheLinkError{Place: cachePlace(t), Dir: "/elsewhere"},
		&travel.InvalidError{Err: cause}, &travel.FormatError{Format: 2}, &objects.KeyError{}, &objects.TooLargeError{Size: 2 << 30},
		&builder.ProofError{Status: 2}, &builder.NoGoError{Base: want.String()}, &builder.RootfsError{Path: "/rootfs"},
		&builder.PortError{Version: "1.4.2", Platforms: []kube.Platform{{OS: "linux", Arch: "arm64"}}, Ports: []string{"linux/386", "linux/arm"}},
		&image.PlatformsError{Name: want, Version: "go1.4.2", Platforms: []kube.Platform{{OS: "linux", Arch: "arm64"}}, Unknown: []kube.Platform{{OS: "linux", Arch: "arm64"}}},
		&builder.MadeWrongError{Reason: "has no gcc", Packages: []string{"gcc", "make"}},
		&builder.SpaceError{Dir: "/store", Free: 2e6, Inodes: 9, Need: 655e6, NeedThem: 12345},
		&builder.SpaceError{Dir: "/store", Free: 2e6, Unlimited: true, Err: cause},
		&builder.TempDirError{Err: cause}, &builder.NothingMadeError{Command: []string{"make"}, Programs: []string{"kubelet"}},
		&image.WrongBaseError{Name: want, Reason: "has no bash"},
		&image.PlatformsError{Name: want, Version: "go1.4.2", Platforms: []kube.Platform{{OS: "linux", Arch: "arm"}},
			Wanted: []kube.Platform{{OS: "linux", Arch: "arm"}, {OS: "windows", Arch: "386"}}}, &image.LevelError{Name: want},
		&image.DockerfileError{Path: "/k/_output/images/x/Dockerfile", Of: "build/build-image/Dockerfile", Err: cause},
		&image.DockerfileError{Path: "/k/Dockerfile", Of: "build/build-image/Dockerfile", Err: cause, User: "build"},
		&image.NoWorkdirError{Dockerfile: "build/build-image/Dockerfile", Workdir: "/go/src/k8s.io/kubernetes"},
		&output.GitLinkError{Root: "/k"}, &preflight.Error{Finding: preflight.Finding{Check: "user namespaces", Found: "disabled", Fix: "sysctl"}},
		&cross.StepError{Text: "RUN x", Err: cause}, &cross.StepError{Text: "RUN x", Lost: []string{"https://x.example/y"}, Err: cause},
		&toolchain.SumError{Source: "https://proxy.example", Module: "golang.org/toolchain@v0.0.1", Has: "h1:a", Want: "h1:b", From: "go.sum"},
		&container.NoRuntimeError{}, &container.NoRuntimeError{Asked: container.IsolationOCI},
		&container.SignalError{Signal: syscall.SIGKILL}, &container.LevelError{Level: "loud"},
		&container.RootError{Path: "/dev", Is: "a symbolic link", Wanted: "a directory"},
		&storage.DiffIDError{Blob: sum("a"), Has: sum("b"), Want: sum("c")},
		&storage.DriverError{Root: "/store", Held: "vfs", Asked: "overlay"}, &storage.BrokenError{Root: "/store", Why: cause},
		&storage.ListError{Root: "/store", Err: cause},
		&storage.AdditionalError{Dir: "/base/graph", Config: "/etc/containers/storage.conf", Err: cause},
		&files.LinkError{Path: "/k/_output"}, &files.OutsideError{Root: "/k", Path: "build/x"},
		&namespace.MapError{Tool: "newuidmap", Said: "not permitted", Cause: "it has no capability"},
		&namespace.TextError{Path: "/caf\xe9"}, &storage.PathError{Path: "/a:b", Why: "its name has a colon in it"},
	)
}

// treeErrors are those of builder/kube and its rooms.
func treeErrors(cause error) []error {
	const script = "build/common.sh"
	return []error{
		&kube.OutputError{Dir: "/home/user", Variable: "OUT_DIR"}, &kube.OutDirError{Dir: "../x"},
		&kube.ForeignTreeError{Dir: "/k"}, &kube.NotTreeError{Dir: "/k", Missing: []string{script}},
		&kube.AgeError{Dir: "/k", Age: "1.5 to 1.34", Common: script, Missing: []string{"hack/lib/golang.sh"}},
		&kube.NotAddedError{Dockerfile: "build/build-image/Dockerfile", Common: script, Archive: "kube-source.tar.gz"},
		&kube.UnsetVariableError{Dockerfile: "build/build-image/Dockerfile", Line: 4, Name: "SOME_DIRECTORY"},
		&kube.VariableError{Name: "1X"}, &kube.WithheldError{Name: "AWS_SECRET_ACCESS_KEY", Err: cause},
		&kube.ImageNameError{From: script, Of: "base image", Name: "A b"}, &kube.RsyncError{Script: script, Function: "sync", Err: cause},
		&kube.NoCrossDockerfileError{Root: "/k"}, &kube.TargetError{Target: "kublet", Near: []string{"cmd/kubelet"}},
		&kube.TargetError{Target: "x", Near: []string{"cmd/x", "plugin/cmd/x"}, Ambiguous: true},
		&kube.TargetError{Target: "x", Listed: []string{"cmd/kubelet", "cmd/kubectl"}},
		&kube.VersionFileError{Err: cause}, &kube.VersionError{Version: "one"}, &kube.VersionError{Version: "one", File: script},
		&kube.PlatformError{Platform: "linux"}, &kube.GoPathError{Root: "/a:b"}, &kube.NoPlatformsError{Script: "hack/build-go.sh"},
		&kube.ContextFileError{Dockerfile: "build/build-image/Dockerfile", Instruction: "COPY", Name: "x"},
		&kube.UnknownVersionError{Builtin: "v0.0.0-master+$Format:%H$", File: "pkg/version/base.go", Why: "there is no git repository"},
		&dockerfile.SyntaxError{File: "Dockerfile", Err: cause},
		&dockerfile.ForbiddenError{File: "Dockerfile", Line: 3, Instruction: "ADD", Asks: "a URL"},
		&shell.LineEndError{Name: script}, &shell.UnsetError{Name: "X"}, &shell.FileError{Name: script, Err: cause},
		&shell.ContribError{Name: "x", Err: cause}, &shell.EnvironmentError{Script: script, Err: cause},
		&git.Error{Command: "status", Said: "fatal: bad object HEAD", Err: cause}, &git.OwnerError{Path: "/k", Err: cause},
		&git.FilterError{Root: "/k", Name: "lfs"},
		&sources.MissingError{From: script, Path: "pkg/x"}, &sources.LinkError{Path: "pkg/x", Err: cause},
		&sources.SpecialError{Path: "pkg/x", Is: "a named pipe"}, &sources.ChangedError{Path: "pkg/x"},
		&sources.PermissionError{Root: "/k", Err: cause},
	}
}

// mirrorErrors are those of package mirror.
func mirrorErrors(registry mirror.Source, want reference.Named, cause error, sum func(string) digest.Digest) []error {
	list := []error{
		&mirror.LockSyntaxError{Line: 3, Reason: cause}, &mirror.LockError{Entry: mirror.LockEntry{Manifest: sum("a")}, Has: sum("b")},
		&mirror.BundleError{Path: "/cross.bundle", Reason: cause}, mirror.Attempt{Source: registry, Err: cause},
		&mirror.PullError{Want: want, Attempts: []mirror.Attempt{{Source: registry, Err: cause}}},
		&mirror.PlatformError{Has: []string{"linux/arm64"}, Want: "linux/amd64"}, &mirror.DigestError{Has: sum("a"), Want: sum("b")},
		&mirror.OfflineError{}, &mirror.OfflineError{Part: "a layer", URL: "https://x.example/layer"},
		&mirror.TimeoutError{After: time.Minute}, &mirror.SyntaxError{Problem: "x is not a source", Write: "y"},
		&mirror.SharedCredentialsError{Hosts: []string{"a.example", "b.example"}},
		&mirror.ConfigError{File: "containers-policy.json", Err: cause}, &mirror.ConfigError{File: "containers-registries.conf", Err: cause},
		&mirror.PolicyError{Want: want.Name(), Transport: "docker", Mirror: "m.example/x"}, &mirror.PolicyError{},
		&mirror.AmbiguousError{Source: registry, Want: want, Names: []string{"x:1", "x:2"}},
		&mirror.FormError{Form: "an OCI archive", Path: "/x.tar"}, &mirror.FormError{Form: "an OCI archive", Rootfs: true, Path: "/x.tar"},
		&mirror.ExistsError{Path: "/x.tar", Problem: "exists and is not a regular file"},
		&mirror.VersionError{File: mirror.LockFile, Has: "2", Knows: "1"}, &mirror.StoreSourceError{},
		&mirror.NoCacheError{Tag: "kbuild-default-0"}, &mirror.CacheReadOnlyError{}, &mirror.CacheMovedError{},
		&mirror.CacheLayerError{Digest: "sha256:0"},
		&mirror.SpaceError{Dir: "/store", Need: 655e6, Free: 200e6}, &mirror.SpaceError{Dir: "/store", Inodes: true},
		// More than any host can give, so that the hint is the same on each.
		&mirror.OwnerError{Path: "/x", UID: 1<<32 - 2, GID: 1<<32 - 2},
	}
	for _, p := range []mirror.Problem{
		mirror.NoAccess, mirror.NotThere, mirror.PlainHTTP, mirror.Untrusted, mirror.WrongBytes, mirror.LeaksCredentials, mirror.NotRegistry,
	} {
		list = append(list, &mirror.SourceError{Problem: p, Host: "m.example"})
	}
	return list
}

// errorTypes are the exported types with a method Error, as "package.Type".
func errorTypes(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, dir := range []string{"builder", "mirror", "storage"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(file string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, d := range parsed.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || f.Recv == nil || f.Name.Name != "Error" {
					continue
				}
				of := f.Recv.List[0].Type
				if star, ok := of.(*ast.StarExpr); ok {
					of = star.X
				}
				if name, ok := of.(*ast.Ident); ok && name.IsExported() {
					names = append(names, parsed.Name.Name+"."+name.Name)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(names) < 50 {
		t.Fatalf("only %d types found", len(names))
	}
	return names
}
