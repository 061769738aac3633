package mirror

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containers/image/v5/oci/layout"
	"github.com/containers/image/v5/pkg/compression"
)

const noSuchMember = "holds no image of that name"

// forms are what each transport is promised to be.
var forms = map[string]string{
	transportOCI:           "an OCI layout",
	transportOCIArchive:    "an OCI archive",
	transportDockerArchive: "a docker archive",
	transportDir:           "a directory of one image",
}

// regularFile checks that there is an archive to read.
func (s Source) regularFile() error {
	file, _, _ := strings.Cut(s.rest, ":")
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return s.notThat(errors.New("it is a directory"))
	case info.Mode().IsRegular() && info.Size() == 0:
		return s.notThat(errors.New("the file is empty"))
	}
	return nil
}

// notThat returns the error of something that is not in the form its transport
// promises, and says what it is instead, as far as that can be seen.
func (s Source) notThat(err error) error {
	var final finalError
	var notInLayout layout.ImageNotFoundError
	switch {
	case errors.As(err, &final), errors.Is(err, os.ErrPermission), isFull(err):
		return err
	case errors.As(err, &notInLayout):
		return &SourceError{Problem: NotThere, text: noSuchMember, cause: err}
	}
	at, _, _ := strings.Cut(s.rest, ":")
	if s.transport == transportDir {
		at = s.rest
	}
	e := &FormError{Form: forms[s.transport], Path: at, cause: err}
	e.Rootfs, e.Transports = whatItIs(at)
	switch {
	case e.Rootfs:
		e.text = "is not " + e.Form + ": it is the file system of a container, as docker export and podman export write it"
	case len(e.Transports) > 0 && !slices.Contains(e.Transports, s.transport):
		e.text = fmt.Sprintf("is not %s but %s", e.Form, forms[e.Transports[0]])
		if e.Transports[0] == transportBundle {
			e.text = fmt.Sprintf("is not %s but a bundle of kbuild", e.Form)
		}
	default:
		e.Transports = nil
		e.text = fmt.Sprintf("is not %s: %s", e.Form, plain(err.Error()))
	}
	return e
}

// whatItIs finds out what a file or directory is, by the names in it: the file
// system of a container, or something that one of the transports reads.
func whatItIs(at string) (rootfs bool, transports []string) {
	info, err := os.Stat(at)
	switch {
	case err != nil:
		return false, nil
	case info.IsDir():
		entries, err := os.ReadDir(at)
		if err != nil {
			return false, nil
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return looksLike(names, transportOCI, transportDir)
	case info.Mode().IsRegular():
		if IsBundle(at) {
			return false, []string{transportBundle}
		}
		return looksLike(topNames(at), transportOCIArchive, transportDockerArchive)
	}
	return false, nil
}

// looksLike judges names at the top of something: ofOCI and ofDocker are the
// transports for its two forms.
func looksLike(names []string, ofOCI, ofDocker string) (rootfs bool, transports []string) {
	has := func(name string) bool { return slices.Contains(names, name) }
	if has("oci-layout") && has("index.json") {
		transports = append(transports, ofOCI)
	}
	if has("manifest.json") {
		transports = append(transports, ofDocker)
	}
	if transports != nil {
		return false, transports
	}
	known := 0
	for _, dir := range []string{"bin", "dev", "etc", "lib", "proc", "sbin", "sys", "tmp", "usr", "var"} {
		if has(dir) {
			known++
		}
	}
	return known >= 3 && has("etc") || known >= 3 && has("usr"), nil
}

// mostScanned bounds how much of an archive is read to find out what it is, in
// bytes and in files.
const (
	mostScanned      = 256 << 20
	mostScannedFiles = 20_000
)

// topNames returns the first part of each name in an archive, whatever it is
// compressed with.
func topNames(file string) []string {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	stream, _, err := compression.AutoDecompress(f)
	if err != nil {
		return nil
	}
	defer stream.Close()
	archive := tar.NewReader(io.LimitReader(stream, mostScanned))
	var names []string
	for n := 0; n < mostScannedFiles; n++ {
		header, err := archive.Next()
		if err != nil {
			break
		}
		top, _, _ := strings.Cut(strings.TrimPrefix(path.Clean(filepath.ToSlash(header.Name)), "/"), "/")
		if !slices.Contains(names, top) {
			names = append(names, top)
		}
	}
	return names
}
