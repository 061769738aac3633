package objects

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/kbuild/kbuild/storage/files"
)

// Built says how what is in a state was compiled.
type Built struct {
	// ByTimes: by a Go that judges by times, see [ByTimes].
	ByTimes bool
	// Dated: with the date of its commit in it, or none, and not with the time of the compile.
	Dated bool
}

// A Comparison is what [State.Compare] found.
type Comparison struct {
	Same  int
	Wrong []string // what the sources do not make
	// Left counts what could not be compared, by the reason.
	Left map[string]int
}

// Why something could not be compared.
const (
	LeftOther = "of other sources or targets"
	LeftCgo   = "with cgo, whose C compiler noted a random directory in them"
	LeftTime  = "with the time of their build in them"
)

// Compare compares what another state holds, which came from somewhere else, with what
// was compiled in this one from nothing. Nothing of the other's is executed.
func (s *State) Compare(other *State, built Built) (Comparison, error) {
	c := comparison{made: s, held: other, Built: built, Comparison: Comparison{Left: map[string]int{}}}
	var err error
	if c.sameSources, err = sameFile(s.record(), other.record()); err != nil {
		return c.Comparison, fmt.Errorf("compare kept state: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(other.held)) {
		if err := c.compare(name); err != nil {
			return c.Comparison, fmt.Errorf("compare kept state: %w", err)
		}
	}
	return c.Comparison, nil
}

type comparison struct {
	Built
	Comparison
	made, held  *State
	sameSources bool
}

// compare compares one file.
func (c *comparison) compare(name string) error {
	was, made := c.made.held[name]
	switch {
	case isNote(name), isCache(name) && strings.HasSuffix(name, "-d"):
		// An output of Go's build cache has its sum for its name; which one an action
		// has is what counts.
		return nil
	case !made:
		c.Left[LeftOther]++
	case isCache(name):
		return c.entry(name)
	case was.sum == c.held.held[name].sum:
		c.Same++
	case !c.sameSources:
		c.Left[LeftOther]++
	case name == "out/"+generatedFile:
		return c.generated(name)
	case c.made.isAsBuilt(name) && !c.Dated:
		c.Left[LeftTime]++
	default:
		random, err := c.notesWork(name)
		if err != nil {
			return err
		}
		if c.ByTimes && random {
			c.Left[LeftCgo]++
		} else {
			c.Wrong = append(c.Wrong, inContainer(name))
		}
	}
	return nil
}

// both reads the file of a name in each state.
func both[T any](c *comparison, name string, read func(file string) (T, error)) (made, held T, err error) {
	if made, err = read(filepath.Join(c.made.dir, name)); err != nil {
		return made, held, err
	}
	held, err = read(filepath.Join(c.held.dir, name))
	return made, held, err
}

// entry compares which output an action has.
func (c *comparison) entry(name string) error {
	made, held, err := both(c, name, outputOf)
	if err != nil {
		return err
	}
	if made == held {
		c.Same++
	} else {
		action, _, _ := strings.Cut(filepath.Base(name), "-")
		c.Wrong = append(c.Wrong, fmt.Sprintf(
			"the action %.16s of Go's build cache: it has the output %.16s, and the sources make %.16s", action, held, made))
	}
	return nil
}

// outputOf returns the output and its size of a file of Go's build cache that says
// which one an action has, see cacheEntrySize.
func outputOf(file string) (string, error) {
	data, err := files.ReadRegular(file, cacheEntrySize)
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(data))
	if len(fields) != 5 {
		return "", fmt.Errorf("%s says of no action which output it has", filepath.Base(file))
	}
	return fields[2] + " " + fields[3], nil
}

// notesWork reports whether what was compiled here has the name of go's work directory
// in it, since no wrapper stood before its C compiler, see [WrapCompilers].
func (c *comparison) notesWork(name string) (bool, error) {
	data, err := os.ReadFile(filepath.Join(c.made.dir, name))
	return workDirectory().Match(data), err
}

var workDirectory = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`/go-build[0-9]+/`) })

// generated compares generated code, but for its times.
func (c *comparison) generated(name string) error {
	made, held, err := both(c, name, tarSums)
	if err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(held)) {
		switch sum, ok := made[file]; {
		case sum == held[file]:
			c.Same++
		case !ok:
			c.Left[LeftOther]++
		default:
			c.Wrong = append(c.Wrong, "the generated "+file)
		}
	}
	return nil
}

// tarSums returns, for each file of an archive, the sum of all of it but its times.
func tarSums(file string) (map[string][sha256.Size]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sums, archive := map[string][sha256.Size]byte{}, tar.NewReader(f)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return sums, nil
		}
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		fmt.Fprintf(h, "%c %o %q\n", header.Typeflag, header.Mode, header.Linkname)
		if _, err := io.Copy(h, archive); err != nil {
			return nil, err
		}
		sums[header.Name] = [sha256.Size]byte(h.Sum(nil))
	}
}

func sameFile(a, b string) (bool, error) {
	one, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	other, err := os.ReadFile(b)
	return bytes.Equal(one, other), err
}

// inContainer returns the path in the container of what is kept under a name.
func inContainer(name string) string {
	_, rest, _ := strings.Cut(name, "/")
	dir, file, _ := strings.Cut(rest, "/")
	return "/" + strings.NewReplacer("%2f", "/", "%25", "%").Replace(dir) + "/" + file
}
