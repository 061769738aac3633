package objects

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
)

// compiledFrom is what a state's record says.
type compiledFrom struct {
	manifest sources.Manifest
	version  string
	time     time.Time
}

// A record ends with the SHA-256 of all before it.
const recordHeader = "kbuild kept state 2"

// recordFile lies in the state's directory.
const recordFile = "compiled-from"

func (s *State) record() string { return filepath.Join(s.dir, recordFile) }

func (s *State) readRecord() (from compiledFrom, known bool, err error) {
	info, err := os.Stat(s.record())
	if errors.Is(err, fs.ErrNotExist) {
		return compiledFrom{}, false, nil
	}
	if err != nil {
		return compiledFrom{}, false, err
	}
	data, err := os.ReadFile(s.record())
	if err != nil {
		return compiledFrom{}, false, err
	}
	if from, err = decodeRecord(data); err != nil {
		return compiledFrom{}, false, nil //nolint:nilerr // nothing is known of what is kept, as if it were not there
	}
	from.time = info.ModTime()
	return from, true, nil
}

var errRecord = errors.New("not a record of this kbuild, or damaged")

func decodeRecord(data []byte) (compiledFrom, error) {
	end := len(data) - sha256.Size
	if end < 0 || sha256.Sum256(data[:end]) != [sha256.Size]byte(data[end:]) {
		return compiledFrom{}, errRecord
	}
	header, rest, _ := bytes.Cut(data[:end], []byte("\n"))
	var length int
	if _, err := fmt.Sscanf(string(header), recordHeader+" %d", &length); err != nil || length < 0 || length > len(rest) {
		return compiledFrom{}, errRecord
	}
	manifest, err := sources.UnmarshalManifest(rest[length:])
	return compiledFrom{manifest: manifest, version: string(rest[:length])}, err
}

func (s *State) writeRecord(manifest sources.Manifest, version kube.Version) error {
	record, err := encodeRecord(manifest, version)
	if err != nil {
		return err
	}
	return files.WriteWhole(s.record(), 0o600, files.Self(), func(w io.Writer) error {
		_, err := w.Write(record)
		return err
	})
}

// encodeRecord returns the only record that the sources and the version have.
func encodeRecord(manifest sources.Manifest, version kube.Version) ([]byte, error) {
	data, err := manifest.MarshalBinary()
	if err != nil {
		return nil, err
	}
	v := version.File()
	record := fmt.Appendf(nil, recordHeader+" %d\n%s%s", len(v), v, data)
	sum := sha256.Sum256(record)
	return append(record, sum[:]...), nil
}
