package toolchain

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"
)

// SumError says that a toolchain is not the one that was released.
type SumError struct {
	Source, Module string
	Has, Want      string
	From           string // who says what it has to be
}

func (e *SumError) Error() string {
	return fmt.Sprintf("%s of %s is %s, and %s says %s", e.Module, e.Source, e.Has, e.From, e.Want)
}

// hashZip returns the hash of a module's archive as it stands in a go.sum file.
func hashZip(ctx context.Context, file string) (string, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return "", fmt.Errorf("is not a zip archive: %w", err)
	}
	defer z.Close()
	names := make([]string, 0, len(z.File))
	members := map[string]*zip.File{}
	for _, f := range z.File {
		if members[f.Name] != nil {
			return "", fmt.Errorf("holds %q twice", f.Name)
		}
		names = append(names, f.Name)
		members[f.Name] = f
	}
	return dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return members[name].Open()
	})
}

// CheckCache reads the releases in a cache, and returns which are damaged, and in
// what way: an archive holds a sum of each of its files.
func CheckCache(ctx context.Context, cache string) (damaged map[string]error, err error) {
	names, err := filepath.Glob(filepath.Join(cache, "*.zip"))
	if err != nil {
		return nil, err
	}
	damaged = map[string]error{}
	for _, name := range names {
		_, err := hashZip(ctx, name)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			damaged[name] = err
		}
	}
	return damaged, nil
}

// wanted returns the hash that a release has to have, and who says so.
func (f *finder) wanted(ctx context.Context, name string) (sum, from string, err error) {
	version := f.moduleVersion(name)
	switch {
	case strings.HasPrefix(f.Sum, "h1:"):
		return f.Sum, "the sum given", nil
	case f.Sum != "":
		text, err := os.ReadFile(f.Sum)
		if err != nil {
			return "", "", &Error{SumFile, fmt.Errorf("the toolchain's sum: %w", err), ""}
		}
		if sum, ok := lineFor(strings.Split(string(text), "\n"), version); ok {
			return sum, f.Sum, nil
		}
		return "", "", fmt.Errorf("the toolchain's sum: %s has no line for %s %s", f.Sum, modulePath, version)
	}
	db, err := parseDatabase(f.sumdb)
	if err != nil {
		return "", "", &Error{NoSum, err, ""}
	}
	lines, err := f.lookup(ctx, db, version)
	if err != nil {
		return "", "", &Error{NoSum, fmt.Errorf("ask the checksum database %s: %w", db.name, err), ""}
	}
	sum, ok := lineFor(lines, version)
	if !ok {
		return "", "", &Error{NoSum, fmt.Errorf("the checksum database %s does not know %s", db.name, version), ""}
	}
	return sum, "the checksum database " + db.name, nil
}

// lineFor finds the hash of a version of the module among the lines of a go.sum
// file.
func lineFor(lines []string, version string) (string, bool) {
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == modulePath && fields[1] == version && strings.HasPrefix(fields[2], "h1:") {
			return fields[2], true
		}
	}
	return "", false
}

// database is a checksum database, see go help module-private.
type database struct {
	name, key string
	address   *url.URL
}

// golangKey is the key of sum.golang.org, as the go command has it.
const golangKey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

// parseDatabase reads the value of GOSUMDB: a name or a key, and an address.
func parseDatabase(value string) (database, error) {
	fields := strings.Fields(value)
	switch {
	case len(fields) == 0, fields[0] == "off":
		return database{}, errors.New("GOSUMDB is off, and a toolchain is not used unverified")
	case len(fields) > 2:
		return database{}, fmt.Errorf("GOSUMDB=%q: too many fields", value)
	}
	key := fields[0]
	address := ""
	switch key {
	case "sum.golang.org":
		key = golangKey
	case "sum.golang.google.cn":
		key, address = golangKey, "https://sum.golang.google.cn"
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return database{}, fmt.Errorf("GOSUMDB=%q: %w", value, err)
	}
	db := database{name: verifier.Name(), key: key}
	if address == "" {
		address = "https://" + db.name
	}
	if len(fields) == 2 {
		address = fields[1]
	}
	if db.address, err = url.Parse(address); err != nil || db.address.Scheme == "" || db.address.Host == "" {
		return database{}, fmt.Errorf("GOSUMDB: %q is not a URL", redact(address))
	}
	return db, nil
}

// lookup asks the database, through a module proxy that passes it on where
// there is one, as the go command does. What was proven once is kept.
func (f *finder) lookup(ctx context.Context, db database, version string) ([]string, error) {
	var base proxy
	ops := &clientOps{dir: filepath.Join(f.Cache, "sumdb"), key: db.key, log: f.log}
	locate := sync.OnceValue(func() error {
		err := f.each(func(p proxy) error {
			if p.direct {
				return errNotThere
			}
			through := proxy{base: p.base.JoinPath("sumdb", db.name)}
			if _, err := through.get(ctx, "supported", longestAnswer); err != nil {
				return err
			}
			base = through
			return nil
		})
		if errors.Is(err, errNotThere) || slices.ContainsFunc(f.proxies, func(p proxy) bool { return p.off }) &&
			base.base == nil {
			base, err = proxy{base: db.address}, nil
		}
		return err
	})
	ops.remote = func(path string) ([]byte, error) {
		if err := locate(); err != nil {
			return nil, err
		}
		text, err := base.get(ctx, path, longestAnswer)
		if err != nil {
			err = fmt.Errorf("%s: %w", base, err)
		}
		return text, err
	}
	lines, err := sumdb.NewClient(ops).Lookup(modulePath, version)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if ops.security != "" {
		first, _, _ := strings.Cut(strings.TrimSpace(ops.security), "\n")
		return nil, fmt.Errorf("it contradicts itself: %s", first)
	}
	return lines, err
}

// clientOps is what the database's client asks of the world.
type clientOps struct {
	dir, key string
	remote   func(path string) ([]byte, error)
	log      func(format string, args ...any)

	mu       sync.Mutex
	security string
}

func (o *clientOps) ReadRemote(path string) ([]byte, error) { return o.remote(path) }

func (o *clientOps) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(o.key), nil
	}
	text, err := os.ReadFile(filepath.Join(o.dir, filepath.FromSlash(file)))
	if errors.Is(err, os.ErrNotExist) {
		return []byte{}, nil // an empty tree
	}
	return text, err
}

func (o *clientOps) WriteConfig(file string, before, after []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	now, err := o.ReadConfig(file)
	if err != nil {
		return err
	}
	if string(now) != string(before) {
		return sumdb.ErrWriteConflict
	}
	return o.write(file, after)
}

func (o *clientOps) ReadCache(file string) ([]byte, error) {
	return os.ReadFile(filepath.Join(o.dir, filepath.FromSlash(file)))
}

func (o *clientOps) WriteCache(file string, data []byte) {
	if err := o.write(file, data); err != nil {
		o.log("keep an answer of the checksum database: %v", err)
	}
}

func (o *clientOps) write(file string, data []byte) error {
	name := filepath.Join(o.dir, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return files.WriteWhole(name, 0o600, files.Self(), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (o *clientOps) Log(string) {}

func (o *clientOps) SecurityError(message string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.security = message
}
