package image

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage/files"
)

// A ContextFile is a file of a build context that the Dockerfile adds.
type ContextFile struct {
	Name string
	Data []byte
	Exec bool
	// Secret is a file of upstream's that holds a random password: it is
	// made where there is none, and stays what it is. Data is nil then.
	Secret bool
}

// maxContextFile is more than any script or time zone has, in bytes.
const maxContextFile = 1 << 20

// ReadContextFiles reads what the recipe wants in the build context besides the
// Dockerfile, the sources and the version. It is called with the user's own
// rights, before the user namespace is entered.
func ReadContextFiles(tree kube.Tree) ([]ContextFile, error) {
	root, err := files.OpenRoot(tree.Root)
	if err != nil {
		return nil, fmt.Errorf("read the files of the build context: %w", err)
	}
	defer root.Close()
	var found []ContextFile
	for _, f := range tree.Recipe.ContextFiles {
		read, err := readContextFile(root, f)
		if err != nil {
			return nil, fmt.Errorf("read %s for the build context: %w", f.From, err)
		}
		found = append(found, read)
	}
	return found, nil
}

func readContextFile(root *files.Root, f kube.ContextFile) (ContextFile, error) {
	switch {
	case f.From == "":
		return ContextFile{Name: f.Name, Secret: true}, nil
	case filepath.IsAbs(f.From): // the host's time zone, and nothing else
		data, err := files.ReadRegular(f.From, maxContextFile)
		if errors.Is(err, fs.ErrNotExist) {
			data, err = []byte(utc), nil
		}
		return ContextFile{Name: f.Name, Data: data}, err
	}
	info, err := root.Stat(f.From)
	if err != nil {
		return ContextFile{}, err
	}
	data, err := root.ReadFile(f.From, maxContextFile)
	return ContextFile{Name: f.Name, Data: data, Exec: info.Mode()&0o100 != 0}, err
}

// utc is the time zone of a host that has no /etc/localtime, as a file of
// tzfile(5), version 1: no transitions, one type of local time, named UTC.
const utc = "TZif" + "\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" +
	"\x00\x00\x00\x01" + "\x00\x00\x00\x04" +
	"\x00\x00\x00\x00\x00\x00" + "UTC\x00"

// write writes the file to a context unless it is there already, and says
// whether it did.
func (f ContextFile) write(dir *files.Dir, owner files.Owner) (bool, error) {
	mode := os.FileMode(0o644)
	switch {
	case f.Secret:
		mode = 0o600
	case f.Exec:
		mode = 0o755
	}
	return dir.WriteChanged(f.Name, mode, owner, f.Data)
}

// filled returns the file with its bytes: a secret is what it is in the directory of
// an earlier context, or is made.
func (f ContextFile) filled(dir *files.Dir) ContextFile {
	if !f.Secret {
		return f
	}
	f.Data = []byte(rand.Text() + "\n")
	if held, err := dir.Read(f.Name, int64(len(f.Data))); err == nil && len(held) == len(f.Data) {
		f.Data = held
	}
	return f
}

// filesDigest identifies files of a context; what a secret is does not matter.
func filesDigest(added []ContextFile) string {
	if len(added) == 0 {
		return ""
	}
	h := sha256.New()
	for _, f := range added {
		fmt.Fprintf(h, "%q %t %t %d ", f.Name, f.Exec, f.Secret, len(f.Data))
		h.Write(f.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}
