package cross

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/kube/golang"
)

// Times of a toolchain's files. Go before 1.10 takes a compiled package for
// stale unless it is newer than its sources. Both lie before what a build makes.
var (
	goSourceTime  = time.Date(2015, time.October, 1, 0, 0, 0, 0, time.UTC)
	goPackageTime = goSourceTime.Add(time.Second)
)

// GoRoot is where kube-cross has its toolchain; what was made from golang:1.4
// calls it /usr/src/go, which is a link to it.
const GoRoot = "/usr/local/go"

// GoFiles visits the files of a Go toolchain: names relative to GOROOT.
type GoFiles func(
	ctx context.Context, visit func(name string, executable bool, size int64, content io.Reader) error,
) error

// goLayer is a Go toolchain on its way into the layer above a root file system.
type goLayer struct {
	files   GoFiles
	version golang.Release
	below   *rootfs // was written before
	// directories are written besides.
	directories []Directory

	tar     *tar.Writer
	written map[string]bool
}

// write writes the toolchain where kube-cross has it, with an empty GOPATH that
// everybody may write to, as the images of golang do.
func (g *goLayer) write(ctx context.Context, to io.Writer) error {
	g.tar, g.written = tar.NewWriter(to), map[string]bool{}
	root := strings.TrimPrefix(GoRoot, "/")
	if err := g.parents(root); err != nil {
		return err
	}
	err := g.files(ctx, func(name string, executable bool, size int64, content io.Reader) error {
		name = path.Join(root, name)
		if err := g.directory(path.Dir(name), 0o755); err != nil {
			return err
		}
		h := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: g.timeOf(name)}
		if executable {
			h.Mode = 0o755
		}
		if err := g.tar.WriteHeader(&h); err != nil {
			return err
		}
		if _, err := io.Copy(g.tar, content); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if g.version.Major == 1 && g.version.Minor < 5 && !g.below.has("usr/src/go") {
		if err := g.parents("usr/src/go"); err != nil {
			return err
		}
		link := tar.Header{
			Typeflag: tar.TypeSymlink, Name: "usr/src/go", Linkname: "../local/go", Mode: 0o777, ModTime: goSourceTime,
		}
		if err := g.tar.WriteHeader(&link); err != nil {
			return err
		}
	}
	for _, dir := range []string{"go", "go/src", "go/bin"} {
		if _, ok := g.below.links[dir]; ok {
			return fmt.Errorf("root file system %s: /%s is a link and must be a directory", g.below.file, dir)
		}
		if err := g.directory(dir, 0o777); err != nil {
			return err
		}
	}
	if err := g.further(); err != nil {
		return err
	}
	return g.tar.Close()
}

// further writes the directories that are asked for. One that the root file
// system has gets the mode, as by chmod.
func (g *goLayer) further() error {
	for _, d := range g.directories {
		name := strings.TrimPrefix(d.Path, "/")
		if g.written[name] || name == "" {
			continue
		}
		if _, link := g.below.links[name]; link || g.below.regular[name] {
			return fmt.Errorf("root file system %s: /%s is not a directory", g.below.file, name)
		}
		if strings.Contains(name, "/") {
			if err := g.parents(name); err != nil {
				return err
			}
		}
		g.written[name] = true
		h := tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: int64(d.Mode.Perm()), ModTime: goSourceTime}
		if d.Mode&fs.ModeSticky != 0 {
			h.Mode |= 0o1000
		}
		if err := g.tar.WriteHeader(&h); err != nil {
			return err
		}
	}
	return nil
}

// timeOf makes the compiled standard library newer than its sources.
func (g *goLayer) timeOf(name string) time.Time {
	if strings.HasPrefix(name, strings.TrimPrefix(GoRoot, "/")+"/pkg/") {
		return goPackageTime
	}
	return goSourceTime
}

// parents writes the directories above a name as they are below: a layer that
// has anything in a directory has the directory, and its mode counts.
func (g *goLayer) parents(name string) error {
	headers, err := g.below.parents(name)
	if err != nil {
		return err
	}
	for _, h := range headers {
		if g.written[path.Clean(h.Name)] {
			continue
		}
		g.written[path.Clean(h.Name)] = true
		if err := g.tar.WriteHeader(&h); err != nil {
			return err
		}
	}
	return nil
}

// directory writes a directory and those above it, once.
func (g *goLayer) directory(name string, mode int64) error {
	if name == "." || g.written[name] {
		return nil
	}
	if err := g.directory(path.Dir(name), mode); err != nil {
		return err
	}
	g.written[name] = true
	return g.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, ModTime: goSourceTime})
}

// goEnvironment returns what programs of an image with this toolchain are given.
func goEnvironment(version golang.Release, arch string, relocated bool) []string {
	env := []string{
		"PATH=/go/bin:" + GoRoot + "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"GOPATH=/go",
		"GOLANG_VERSION=" + version.String(),
	}
	if relocated {
		env = append(env, "GOROOT="+GoRoot)
	}
	if version.Major != 1 {
		return env
	}
	if version.Minor < 10 {
		// Programs of a gcc of today are position-independent, which the
		// linker of an old Go does not expect, and its assembler writes
		// relocations (binutils 2.26, 2016) that it does not know.
		cc := "gcc -no-pie -fno-pie"
		if arch == "amd64" || arch == "386" {
			cc += " -Wa,-mrelax-relocations=no"
		}
		env = append(env, "CC="+cc)
	}
	if version.Minor >= 21 {
		env = append(env, "GOTOOLCHAIN=local")
	}
	return env
}
