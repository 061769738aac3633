package mirrortest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// sourceTime is the time of every file in a kube-cross but those in the
// toolchain's pkg directory: Go before 1.10 takes a compiled package for stale
// unless it is newer than its sources. Both lie before anything a build makes.
var (
	sourceTime  = time.Date(2015, time.October, 1, 0, 0, 0, 0, time.UTC)
	packageTime = sourceTime.Add(time.Second)
)

// What the scripts of a Kubernetes tree may call. Every host has the former;
// the latter are taken where they are found.
var (
	essential = strings.Fields(`bash basename cat chmod cp cut date dirname env expr false head id ln ls
		mkdir mktemp mv printf pwd readlink rm seq sleep sort stat tail tee test touch tr true uname wc`)
	welcome = strings.Fields("find grep sed tar gzip which make")
)

// CrossOptions says what a small kube-cross is like. The zero value is one with
// the Go toolchain of this host.
type CrossOptions struct {
	// GOROOT is the Go toolchain to put in, as a directory of this host. Empty
	// means that of the go command in PATH.
	GOROOT string
	// Claim is the release that the toolchain pretends to be, such as
	// "go1.6.3", in its VERSION file and in GOLANG_VERSION. Empty means the
	// truth. The go command itself does not lie.
	Claim string
	// Arch is the architecture the image says it is for, Go's name for it.
	// Empty means this host's, which is what is in the image in any case.
	Arch string
	// Without names programs to leave out, such as "bash", which is sh as
	// well, and "go" for the whole toolchain.
	Without []string
}

// Cross makes a small kube-cross for linux from what this host has: a Go
// toolchain in /usr/local/go, bash, core utilities and the shared libraries
// they need. There is no C compiler in it. Its bytes depend on this host's files
// alone; they are read again whenever the image's layer is, and must not change
// while the image is in use.
func Cross(opts CrossOptions) (v1.Image, error) {
	img, err := cross(opts)
	if err != nil {
		return nil, fmt.Errorf("make a small kube-cross: %w", err)
	}
	return img, nil
}

func cross(opts CrossOptions) (v1.Image, error) {
	content := files{}
	local := newHost(content)
	if err := addPrograms(local, opts.Without); err != nil {
		return nil, err
	}
	content.add("/tmp", file{mode: fs.ModeDir | fs.ModeSticky | 0o777})
	content.add("/root", file{mode: fs.ModeDir | 0o700})
	content.directory("/go/src")
	content.directory("/go/bin")
	content.add("/etc/passwd", file{mode: 0o644, text: "root:x:0:0:root:/root:/bin/bash\n"})
	content.add("/etc/group", file{mode: 0o644, text: "root:x:0:\n"})

	environment := []string{
		"PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"GOPATH=/go",
	}
	if !slices.Contains(opts.Without, "go") {
		release, err := addToolchain(local, opts.GOROOT, opts.Claim)
		if err != nil {
			return nil, err
		}
		environment = append(environment, "GOLANG_VERSION="+strings.TrimPrefix(release, "go"), "GOTOOLCHAIN=local")
	}

	only, err := newLayer(content)
	if err != nil {
		return nil, err
	}
	arch := opts.Arch
	if arch == "" {
		arch = runtime.GOARCH
	}
	created := v1.Time{Time: sourceTime}
	base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS:           "linux",
		Architecture: arch,
		Created:      created,
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Env:        environment,
			WorkingDir: "/go",
			Cmd:        []string{"bash"},
		},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(base, mutate.Addendum{
		Layer:     only,
		MediaType: types.DockerUncompressedLayer,
		History:   v1.History{Created: created, CreatedBy: "a small kube-cross from what a host has"},
	})
}

// addPrograms adds the shell and the utilities.
func addPrograms(local *host, without []string) error {
	for _, name := range essential {
		if slices.Contains(without, name) {
			continue
		}
		if err := local.program(name); err != nil {
			return err
		}
	}
	for _, name := range welcome {
		if slices.Contains(without, name) {
			continue
		}
		if err := local.program(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if slices.Contains(without, "bash") {
		return nil
	}
	// Scripts ask for /bin/bash and /bin/sh, wherever this host has its bash.
	bin, err := local.walk("/bin")
	if err != nil {
		return err
	}
	if bash := path.Join(bin, "bash"); !local.seen[bash] {
		local.files.add(bash, link("/usr/bin/bash"))
	}
	if !slices.Contains(without, "sh") {
		local.files.add(path.Join(bin, "sh"), link("bash"))
	}
	return nil
}

// addToolchain adds what of the Go toolchain in goroot compiling needs, as
// /usr/local/go, and returns the release it says it is.
func addToolchain(local *host, goroot, claim string) (release string, err error) {
	const to = "/usr/local/go"
	if goroot == "" {
		if goroot, err = hostToolchain(); err != nil {
			return "", err
		}
	}
	version, err := os.ReadFile(filepath.Join(goroot, "VERSION"))
	if err != nil {
		return "", fmt.Errorf("release of the Go toolchain: %w", err)
	}
	if claim != "" {
		version = []byte(claim)
	}
	local.files.add(path.Join(to, "VERSION"), file{mode: 0o644, text: string(version)})
	release, _, _ = strings.Cut(string(version), "\n")

	// The standard library's compiled form came with Go until 1.19.
	platform := runtime.GOOS + "_" + runtime.GOARCH
	for _, name := range []string{
		"bin/go", "bin/gofmt", "pkg/tool/" + platform, "pkg/include", "pkg/" + platform, "src", "go.env", "LICENSE",
	} {
		from := filepath.Join(goroot, name)
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) && name != "bin/go" && name != "src" {
			continue
		}
		programs := strings.HasPrefix(name, "bin/") || strings.HasPrefix(name, "pkg/tool/")
		if err := addTree(local, from, path.Join(to, name), programs); err != nil {
			return "", fmt.Errorf("toolchain of Go: %w", err)
		}
	}
	for name, entry := range local.files {
		if strings.HasPrefix(name, to+"/pkg/") {
			entry.time = packageTime
			local.files[name] = entry
		}
	}
	return release, nil
}

// addTree adds the file or directory from as to, following symbolic links:
// distributions spread a toolchain over several directories. Programs are made
// executable, as a toolchain from the module proxy arrives without the bits.
func addTree(local *host, from, to string, programs bool) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		if path.Base(to) == "testdata" || strings.HasSuffix(to, "/src/cmd") {
			return nil
		}
		local.files.directory(to)
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if err := addTree(local, filepath.Join(from, entry.Name()), path.Join(to, entry.Name()), programs); err != nil {
				return err
			}
		}
		return nil
	case !info.Mode().IsRegular() || strings.HasSuffix(to, "_test.go"):
		return nil
	}
	mode := fs.FileMode(0o644)
	if programs {
		mode = 0o755
		if err := local.requirements(from); err != nil {
			return err
		}
	}
	local.files.add(to, file{mode: mode, source: from, size: info.Size()})
	return nil
}

// hostToolchain returns the GOROOT of the go command in PATH.
func hostToolchain() (string, error) {
	return goCommand(context.Background(), "/", nil, "env", "GOROOT")
}

// GoToolchain returns the directory of an old Go toolchain for this host's
// platform, version being such as "1.4.3". It is taken from the module proxy,
// checked against the checksum database and kept in the module cache, where it
// is read-only and, from the proxy, has no execute bits: Cross knows.
//
// Not every release is there: 1.4.3, 1.6.4, 1.9.7, 1.13.15 and 1.15.15 are.
func GoToolchain(ctx context.Context, version string) (goroot string, err error) {
	module := fmt.Sprintf("golang.org/toolchain@v0.0.1-go%s.%s-%s", version, runtime.GOOS, runtime.GOARCH)
	// Outside of any module, so that no go.mod nor vendor directory has a say.
	dir, err := os.MkdirTemp("", "kbuild-toolchain-")
	if err != nil {
		return "", fmt.Errorf("get Go %s: %w", version, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	output, err := goCommand(ctx, dir, []string{"GOFLAGS=-mod=mod", "GOWORK=off"}, "mod", "download", "-json", module)
	var answer struct{ Dir, Error string }
	if jsonErr := json.Unmarshal([]byte(output), &answer); jsonErr == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	} else if err == nil && jsonErr != nil {
		err = fmt.Errorf("answer of go mod download: %w", jsonErr)
	}
	if err != nil {
		return "", fmt.Errorf("get Go %s: %w", version, err)
	}
	return answer.Dir, nil
}

// goCommand runs this host's go command and returns what it printed, without
// the final newline, even if it failed.
func goCommand(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// PWD as well: the go command believes it.
	cmd.Env = append(append(os.Environ(), "GOTOOLCHAIN=local", "PWD="+dir), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	} else if err != nil {
		err = fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), err
}
