package builder

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// A sourceRecord is what is known of a tree's sources from the run before: a
// fingerprint in kbuild's own directory for the tree. It is a cache. What of it
// cannot be read is as good as nothing, and not being able to keep it costs the
// next run some time.
type sourceRecord struct {
	file          string
	before, after sources.Fingerprint
}

// maxRecord is more than any tree's fingerprint has, in bytes.
const maxRecord = 256 << 20

// look reads the tree's sources as far as they are not known.
func (r *sourceRecord) look(ctx context.Context, tree kube.Tree, stateDir string) (m sources.Manifest, err error) {
	r.file = filepath.Join(stateDir, "sources")
	r.before = readFingerprint(r.file)
	m, r.after, err = tree.SourcesSince(ctx, r.before)
	return m, err
}

func readFingerprint(file string) sources.Fingerprint {
	f, err := os.Open(file)
	if err != nil {
		return sources.Fingerprint{}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxRecord {
		return sources.Fingerprint{}
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return sources.Fingerprint{}
	}
	known, err := sources.UnmarshalFingerprint(data)
	if err != nil {
		return sources.Fingerprint{}
	}
	return known
}

// keep keeps what is known now for the next run, whole or not at all. The caller
// has the tree's lock, so nobody else writes it.
func (r *sourceRecord) keep() {
	if r.file == "" || r.after.Read == 0 && r.after.Len() == r.before.Len() {
		return
	}
	data, err := r.after.MarshalBinary()
	if err != nil {
		return
	}
	next := r.file + ".new"
	err = errors.Join(os.MkdirAll(filepath.Dir(r.file), 0o700), os.RemoveAll(next), os.WriteFile(next, data, 0o600))
	if err == nil {
		err = os.Rename(next, r.file)
	}
	if err != nil {
		os.Remove(next) //nolint:errcheck // a full disk will be told of where it matters
	}
}
