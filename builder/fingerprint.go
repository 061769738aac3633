package builder

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
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
	data, err := files.ReadRegular(file, maxRecord)
	if err != nil {
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
	if os.MkdirAll(filepath.Dir(r.file), 0o700) != nil {
		return
	}
	// A full disk will be told of where it matters.
	files.WriteCache(r.file, 0o600, files.Self(), func(w io.Writer) error { //nolint:errcheck // see above
		_, err := w.Write(data)
		return err
	})
}
