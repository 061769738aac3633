package mirror

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/containers/image/v5/manifest"
	ociarchive "github.com/containers/image/v5/oci/archive"
	"github.com/containers/image/v5/pkg/compression"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	imgspecv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// longestIndex bounds how much of an archive's index or of a manifest is read,
// in bytes.
const longestIndex = 4 << 20

// mostMembers bounds how many files of an archive are listed: an image has at
// most a few hundred.
const mostMembers = 100_000

// tarFile is an archive whose files are read where they are: unpacked, an image
// would need its size once more on disk.
type tarFile struct {
	file    *os.File
	files   map[string]extent // by clean path; of two the last, as tar has it
	names   []string          // in order, for what it may be instead
	remove  bool              // the file is a temporary one
	members int
}

// extent is where the content of a file is, in bytes.
type extent struct{ offset, size int64 }

// openTar lists an archive. One that is compressed is written uncompressed into
// the directory scratch first.
func openTar(ctx context.Context, file, scratch string) (*tarFile, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	a := &tarFile{file: f, files: map[string]extent{}}
	_, decompress, stream, err := compression.DetectCompressionFormat(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if decompress != nil {
		plain, err := uncompressed(ctx, decompress, stream, scratch)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		a.file, a.remove = plain, true
	}
	if err := a.list(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// uncompressed writes a stream to a temporary file, as long as there is room.
func uncompressed(ctx context.Context, decompress compression.DecompressorFunc, stream io.Reader,
	scratch string) (*os.File, error) {
	from, err := decompress(stream)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	f, err := os.CreateTemp(scratch, "archive-")
	if err != nil {
		return nil, err
	}
	to := &roomyWriter{Writer: f, dir: scratch}
	if err = copyContext(ctx, to, from); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

func (a *tarFile) list(ctx context.Context) error {
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	archive := tar.NewReader(a.file)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if a.members++; a.members > mostMembers {
			return fmt.Errorf("it holds more than %d files", mostMembers)
		}
		name := path.Clean(header.Name)
		a.names = append(a.names, name)
		if header.Typeflag != tar.TypeReg {
			continue // no link leads anywhere
		}
		// archive/tar reads headers as whole blocks and seeks over contents.
		offset, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		a.files[name] = extent{offset, header.Size}
	}
}

func (a *tarFile) open(name string) (*io.SectionReader, bool) {
	at, ok := a.files[name]
	if !ok {
		return nil, false
	}
	return io.NewSectionReader(a.file, at.offset, at.size), true
}

// read returns the content of a small file.
func (a *tarFile) read(name string, longest int64) ([]byte, error) {
	r, ok := a.open(name)
	if !ok {
		return nil, fmt.Errorf("it holds no %s", name)
	}
	if r.Size() > longest {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that are read", name, r.Size(), longest)
	}
	return io.ReadAll(r)
}

// Close closes the archive, and removes a temporary one.
func (a *tarFile) Close() error {
	err := a.file.Close()
	if a.remove {
		err = errors.Join(err, os.Remove(a.file.Name()))
	}
	return err
}

// tarRef is an image in an OCI archive. To a policy it is what the library's own
// reference is.
type tarRef struct {
	types.ImageReference
	archive    *tarFile
	descriptor imgspecv1.Descriptor
}

func newTarRef(a *tarFile, file string, d imgspecv1.Descriptor) (types.ImageReference, error) {
	ref, err := ociarchive.NewReference(file, "")
	if err != nil {
		return nil, err
	}
	return tarRef{ref, a, d}, nil
}

func (r tarRef) NewImageSource(context.Context, *types.SystemContext) (types.ImageSource, error) {
	return tarSource(r), nil
}

// tarSource reads an image where it is in the archive. Of blobs the reader
// verifies the digest, as of those from any source.
type tarSource tarRef

func (s tarSource) Reference() types.ImageReference { return tarRef(s) }

// Close leaves the archive open: locateOCIArchive's caller closes it.
func (s tarSource) Close() error { return nil }

func (s tarSource) GetManifest(_ context.Context, instance *digest.Digest) ([]byte, string, error) {
	d, mime := s.descriptor.Digest, s.descriptor.MediaType
	if instance != nil {
		d, mime = *instance, ""
	}
	if err := d.Validate(); err != nil {
		return nil, "", fmt.Errorf("manifest %q: %w", d, err)
	}
	name := blobName(d)
	if _, ok := s.archive.files[name]; !ok {
		return nil, "", s.lacks("manifest", d)
	}
	data, err := s.archive.read(name, longestIndex)
	if err != nil {
		return nil, "", err
	}
	if d.Algorithm().FromBytes(data) != d {
		return nil, "", &SourceError{Problem: WrongBytes, text: fmt.Sprintf("is damaged: manifest %s has different bytes", d)}
	}
	if mime == "" {
		mime = manifest.GuessMIMEType(data)
	}
	return data, mime, nil
}

// lacks returns the error of a part that an index lists and the archive does not
// hold: ctr images export and nerdctl save leave out other platforms.
func (s tarSource) lacks(what string, d digest.Digest) error {
	const text = "lists the %s %s but does not hold it; it may have been exported for a different platform"
	return &SourceError{Problem: NotThere, text: fmt.Sprintf(text, what, d)}
}

func (s tarSource) HasThreadSafeGetBlob() bool { return true }

func (s tarSource) GetBlob(_ context.Context, info types.BlobInfo, _ types.BlobInfoCache) (io.ReadCloser, int64,
	error) {
	if err := info.Digest.Validate(); err != nil {
		return nil, 0, fmt.Errorf("blob %q: %w", info.Digest, err)
	}
	r, ok := s.archive.open(blobName(info.Digest))
	if !ok {
		return nil, 0, s.lacks("blob", info.Digest)
	}
	return io.NopCloser(r), r.Size(), nil
}

// GetSignatures: an OCI layout has none.
func (s tarSource) GetSignatures(context.Context, *digest.Digest) ([][]byte, error) {
	return nil, nil
}

func (s tarSource) LayerInfosForCopy(context.Context, *digest.Digest) ([]types.BlobInfo, error) {
	return nil, nil
}
