package toolchain

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// A File is a regular file of a toolchain.
type File struct {
	// Name is relative to GOROOT, with slashes.
	Name string
	// Executable reports whether it is a program or a script. The module's archive
	// does not say; its place and its name do.
	Executable bool
	// Size is in bytes.
	Size int64
}

// Walk visits the files of the toolchain in the order it has them. A name that
// leads out of it is an error.
func (t Toolchain) Walk(ctx context.Context, visit func(File, io.Reader) error) error {
	checked := func(f File, r io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.Executable = f.Executable || executable(f.Name)
		return visit(f, r)
	}
	var err error
	switch info, e := os.Stat(t.Path); {
	case e != nil:
		err = e
	case info.IsDir():
		err = walkDir(t.Path, "", 0, checked)
	case isZip(t.Path):
		err = walkZip(t.Path, checked)
	default:
		err = walkTar(t.Path, checked)
	}
	if err != nil && !errors.Is(err, errEnough) && ctx.Err() == nil {
		return fmt.Errorf("read the Go toolchain %s: %w", t.Path, err)
	}
	return err
}

// executable tells what has to have the execute bits.
func executable(name string) bool {
	dir, _ := path.Split(name)
	if dir == "bin/" || strings.HasPrefix(dir, "pkg/tool/") {
		return true
	}
	switch path.Ext(name) {
	case ".bash", ".sh", ".pl", ".rc":
		return true
	}
	return false
}

func isZip(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, 4)
	_, err = io.ReadFull(f, magic)
	return err == nil && string(magic) == "PK\x03\x04"
}

// inside checks a name below a prefix, and takes the prefix off.
func inside(name, prefix string) (string, error) {
	rel, ok := strings.CutPrefix(name, prefix)
	if !ok || !fs.ValidPath(rel) || strings.ContainsAny(rel, "\\\x00") {
		return "", fmt.Errorf("the name %q leads out of %s", name, strings.TrimSuffix(prefix, "/"))
	}
	return rel, nil
}

func walkZip(file string, visit func(File, io.Reader) error) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer z.Close()
	prefix := ""
	for _, member := range z.File {
		if prefix == "" {
			// golang.org/toolchain@v0.0.1-go1.4.3.linux-amd64/
			end := strings.Index(strings.TrimPrefix(member.Name, modulePath+"@"), "/")
			if !strings.HasPrefix(member.Name, modulePath+"@") || end < 0 {
				return fmt.Errorf("it is not an archive of the module %s: it begins with %q", modulePath, member.Name)
			}
			prefix = member.Name[:len(modulePath)+1+end+1]
		}
		if strings.HasSuffix(member.Name, "/") {
			continue
		}
		name, err := inside(member.Name, prefix)
		if err != nil {
			return err
		}
		if !member.Mode().IsRegular() {
			return fmt.Errorf("%q is not a regular file", member.Name)
		}
		if err := visitZip(member, name, visit); err != nil {
			return err
		}
	}
	return nil
}

func visitZip(member *zip.File, name string, visit func(File, io.Reader) error) error {
	content, err := member.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	return visit(File{Name: name, Size: int64(member.UncompressedSize64)}, content)
}

func walkTar(file string, visit func(File, io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		return &Error{NoArchive, fmt.Errorf("it is neither a .tar.gz nor a .zip: %w", err), ""}
	}
	archive := tar.NewReader(plain)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := inside(path.Clean(h.Name), "go/")
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			return fmt.Errorf("%q is not a regular file", h.Name)
		}
		if err := visit(File{Name: name, Executable: h.Mode&0o111 != 0, Size: h.Size}, archive); err != nil {
			return err
		}
	}
}

// deepest bounds how deep directories lie, against links that go round.
const deepest = 40

// walkDir reads a GOROOT directory. It follows symbolic links: distributions
// spread a toolchain over several directories.
func walkDir(root, rel string, depth int, visit func(File, io.Reader) error) error {
	entries, err := os.ReadDir(filepath.Join(root, rel))
	if err != nil {
		return err
	}
	if depth > deepest {
		return fmt.Errorf("%s is nested too deeply: do links form a loop?", rel)
	}
	for _, e := range entries {
		name := path.Join(rel, e.Name())
		info, err := os.Stat(filepath.Join(root, name))
		switch {
		case errors.Is(err, fs.ErrNotExist): // a link that leads nowhere
			continue
		case err != nil:
			return err
		case info.IsDir():
			err = walkDir(root, name, depth+1, visit)
		case info.Mode().IsRegular():
			err = visitFile(filepath.Join(root, name), name, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func visitFile(file, name string, visit func(File, io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return visit(File{Name: name, Executable: info.Mode()&0o111 != 0, Size: info.Size()}, f)
}

// errEnough ends a walk early.
var errEnough = errors.New("enough was read")

// machines are the processors, as ELF files name them (elf(5)), by Go's names.
var machines = map[string]uint16{
	"386": 3, "arm": 40, "amd64": 62, "ppc64le": 21, "s390x": 22, "arm64": 183, "riscv64": 243,
}

// inspect reads the version, and sees that the go command runs on arch.
func (t *Toolchain) inspect(ctx context.Context, arch string) error {
	var program []byte
	err := t.Walk(ctx, func(f File, r io.Reader) error {
		switch f.Name {
		case "VERSION":
			text, err := io.ReadAll(io.LimitReader(r, 4096))
			if err != nil {
				return err
			}
			first, _, _ := strings.Cut(string(text), "\n")
			t.Version = strings.TrimSpace(first)
		case "bin/go":
			program = make([]byte, 20)
			if _, err := io.ReadFull(r, program); err != nil {
				return fmt.Errorf("bin/go is not a program: %w", err)
			}
		}
		if t.Version != "" && program != nil {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	switch {
	case t.Version == "":
		return fmt.Errorf("%s is not a Go toolchain: it has no VERSION", t.Path)
	case program == nil:
		return fmt.Errorf("%s is not a Go toolchain: it has no bin/go", t.Path)
	case !bytes.HasPrefix(program, []byte("\x7fELF")):
		return fmt.Errorf("the Go toolchain %s is not for linux", t.Path)
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if program[5] == 2 {
		order = binary.BigEndian
	}
	if machine, ok := machines[arch]; ok && order.Uint16(program[18:]) != machine {
		return fmt.Errorf("the Go toolchain %s is not for linux/%s", t.Path, arch)
	}
	return nil
}
