// Package cross makes kube-cross images here, of the tree's own Dockerfile or of
// a root file system and a Go toolchain. It knows what a base image needs, and
// nothing of what is built in it.
package cross

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube/golang"
	"github.com/kbuild/kbuild/storage"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// labelCross holds, on a base image that was assembled here, the digest of all
// it is made from.
const labelCross = "io.kbuild.cross"

// InputsOf returns the digest of what a base image in the store was assembled
// from, or "" when it was not assembled by kbuild.
func InputsOf(store *storage.Store, img storage.Image) (digest.Digest, error) {
	labels, err := image.Labels(store, img)
	return digest.Digest(labels[labelCross]), err
}

// Rootfs is a base image of a root file system archive and a Go toolchain.
type Rootfs struct {
	// Archive is a tar archive, plain or compressed.
	Archive string
	Go      GoFiles
	// Version is what the toolchain's VERSION says, such as "go1.15.15"; Sum
	// identifies its content, where that is known.
	Version, Sum string
	// Relocated reports whether it has to be told where it is.
	Relocated bool
	// TreeID is the tree's id of kbuild's own.
	TreeID string
	// Arch is Go's name of the processor the image is for.
	Arch string
	// Environment are further variables of the image, NAME=value.
	Environment []string
	// Directories are made besides those of the archive, in their order.
	Directories []Directory
}

// A Directory is one of the image: an absolute path.
type Directory struct {
	Path string
	Mode fs.FileMode // the permissions, and fs.ModeSticky
}

// Inputs returns the digest of all the image is made from.
func (c Rootfs) Inputs(ctx context.Context) (digest.Digest, error) {
	h := sha256.New()
	fmt.Fprintf(h, "rootfs 2\n%s %t %s %q %v\n", c.Version, c.Relocated, c.Arch, c.Environment, c.Directories)
	f, err := os.Open(c.Archive)
	if err != nil {
		return "", fmt.Errorf("root file system: %w", err)
	}
	defer f.Close()
	if err := hashInto(ctx, h, f); err != nil {
		return "", fmt.Errorf("root file system: %w", err)
	}
	fmt.Fprintf(h, "\n%s\n", c.Sum)
	if c.Sum == "" {
		err = c.Go(ctx, func(name string, executable bool, size int64, content io.Reader) error {
			fmt.Fprintf(h, "%q %t %d\n", name, executable, size)
			_, err := io.Copy(h, content)
			return err
		})
	}
	return digest.NewDigest(digest.SHA256, h), err
}

// hashInto reads a stream until it or the context ends.
func hashInto(ctx context.Context, h hash.Hash, r io.Reader) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.CopyN(h, r, 16<<20); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// Assemble makes the image, without a name. The archive and the toolchain are
// read once, straight into the store's layers; the same ones make the same
// image. dropped is how many devices were left out, which nobody without root
// may make, and a container has its own of.
func (c Rootfs) Assemble(ctx context.Context, store *storage.Store, inputs digest.Digest) (
	img storage.Image, dropped int, err error,
) {
	version, ok := golang.ParseVersion(c.Version)
	if !ok {
		return storage.Image{}, 0, fmt.Errorf("a Go toolchain of unknown version %q", c.Version)
	}
	created := goPackageTime
	below := &rootfs{file: c.Archive, without: strings.TrimPrefix(GoRoot, "/")}
	toolchain := &goLayer{files: c.Go, version: version, directories: c.Directories, below: below}
	config := ocispec.Image{
		Created:  &created,
		Platform: ocispec.Platform{OS: "linux", Architecture: c.Arch},
		Config: ocispec.ImageConfig{
			Env:        append(goEnvironment(version, c.Arch, c.Relocated), c.Environment...),
			Cmd:        []string{"bash"},
			WorkingDir: "/go",
			Labels:     map[string]string{labelCross: inputs.String()},
		},
		History: []ocispec.History{
			{Created: &created, CreatedBy: "kbuild cross --rootfs " + filepath.Base(c.Archive)},
			{Created: &created, CreatedBy: "kbuild cross --go " + c.Version},
		},
	}
	img, err = store.Compose(ctx, c.TreeID, config, created, below.write, toolchain.write)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return storage.Image{}, 0, fmt.Errorf("assemble the base image: %w", container.ShortError(err))
	}
	return img, below.dropped, nil
}

// DropSuperseded removes a base image that was assembled here, at one level of
// trust alone, and lost its name to a newer one. One in use, of another name, or
// that another level has, stays.
func DropSuperseded(store *storage.Store, id, level string) error {
	img, err := store.LookupID(id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if gone, err := image.Superseded(store, img, level); err != nil || !gone {
		return err
	}
	if err := store.Delete(id); err != nil && !errors.Is(err, storage.ErrInUse) {
		return err
	}
	return nil
}

// contextFiles hashes the files of a small build context.
func contextFiles(dir string, h hash.Hash) error {
	return filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %v\n", rel, d.Type())
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%d\n", len(data))
		h.Write(data)
		return nil
	})
}

// The Debian packages that programs of a base image are in, where the names
// differ; "" for those that every system has.
var debianPackages = map[string]string{
	"basename": "", "bash": "", "cat": "", "chmod": "", "cp": "", "cut": "", "date": "", "dirname": "", "env": "",
	"find": "", "grep": "", "head": "", "ln": "", "ls": "", "md5sum": "", "mkdir": "", "mktemp": "", "mv": "",
	"readlink": "", "rm": "", "sed": "", "sort": "", "stat": "", "tail": "", "tar": "", "touch": "", "tr": "",
	"uname": "", "uniq": "", "wc": "", "which": "", "whoami": "", "xargs": "", "awk": "", "gzip": "", "hostname": "",
	"aarch64-linux-gnu-gcc": "crossbuild-essential-arm64", "arm-linux-gnueabi-gcc": "crossbuild-essential-armel",
	"arm-linux-gnueabihf-gcc": "crossbuild-essential-armhf", "powerpc64le-linux-gnu-gcc": "crossbuild-essential-ppc64el",
	"s390x-linux-gnu-gcc": "crossbuild-essential-s390x", "x86_64-linux-gnu-gcc": "crossbuild-essential-amd64",
	"diff": "", "perl": "perl", "ps": "procps", "protoc": "protobuf-compiler", "cc": "gcc",
}

// Packages returns the Debian packages that a root file system of mmdebstrap's
// minbase variant needs besides, for a tree whose scripts run these programs.
func Packages(tools []string) []string {
	list := []string{"ca-certificates", "gcc", "git", "libc6-dev", "make", "rsync"}
	for _, tool := range tools {
		pkg, known := debianPackages[tool]
		if !known {
			pkg = tool
		}
		if pkg != "" && !slices.Contains(list, pkg) {
			list = append(list, pkg)
		}
	}
	slices.Sort(list)
	return list
}

// Mmdebstrap returns the command that makes a root file system with packages.
func Mmdebstrap(packages []string) string {
	return "mmdebstrap --variant=minbase --include=" + strings.Join(packages, ",") + " bookworm rootfs.tar"
}
