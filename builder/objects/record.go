package objects

import (
	"bufio"
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

const recordHeader = "kbuild kept state 1"

func (s *State) record() string { return filepath.Join(s.dir, "compiled-from") }

func (s *State) readRecord() (compiledFrom, bool, error) {
	f, err := os.Open(s.record())
	if errors.Is(err, fs.ErrNotExist) {
		return compiledFrom{}, false, nil
	}
	if err != nil {
		return compiledFrom{}, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return compiledFrom{}, false, err
	}
	r := bufio.NewReader(f)
	var length int
	if _, err := fmt.Fscanf(r, recordHeader+" %d\n", &length); err != nil || length < 0 || int64(length) > info.Size() {
		return compiledFrom{}, false, nil // another kbuild's
	}
	version := make([]byte, length)
	if _, err := io.ReadFull(r, version); err != nil {
		return compiledFrom{}, false, nil
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return compiledFrom{}, false, err
	}
	manifest, err := sources.UnmarshalManifest(data)
	if err != nil {
		return compiledFrom{}, false, nil
	}
	return compiledFrom{manifest: manifest, version: string(version), time: info.ModTime()}, true, nil
}

func (s *State) writeRecord(manifest sources.Manifest, version kube.Version) error {
	data, err := manifest.MarshalBinary()
	if err != nil {
		return err
	}
	v := version.File()
	return files.WriteWhole(s.record(), 0o600, files.Self(), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, recordHeader+" %d\n%s%s", len(v), v, data)
		return err
	})
}
