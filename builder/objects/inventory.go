package objects

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// An inventory holds what every file of a state was when the last command that
// came to its end had left it, and all of that was on the disk. What is not in
// the inventory, or no longer what it says, was left by a command that was
// killed, or spoilt by the disk or a power cut; nothing is compiled with it.
//
// A file whose inode, size and times are those of the inventory is not read:
// whatever writes to a file sets its ctime, which no program can set.
type inventory map[string]heldFile // by path below the state's directory

// A heldFile is one file of an inventory.
type heldFile struct {
	files.Stamp
	sum [sha256.Size]byte
}

const (
	inventoryHeader = "kbuild inventory 1\n"
	// inventoryFile lies in the state's directory.
	inventoryFile = "inventory"
)

// heldDirs are the directories of a state that an inventory is of.
var heldDirs = []string{"kept", "out"}

// encode writes a line for each file, and at the end the sum of all that.
func (inv inventory) encode() []byte {
	b := []byte(inventoryHeader)
	for _, name := range slices.Sorted(maps.Keys(inv)) {
		f := inv[name]
		b = hex.AppendEncode(b, f.sum[:])
		for _, n := range []int64{int64(f.Inode), f.Size, unix.TimespecToNsec(f.Mtim), unix.TimespecToNsec(f.Ctim)} {
			b = strconv.AppendInt(append(b, ' '), n, 10)
		}
		b = append(strconv.AppendQuote(append(b, ' '), name), '\n')
	}
	sum := sha256.Sum256(b)
	return append(hex.AppendEncode(b, sum[:]), '\n')
}

var errInventory = errors.New("not an inventory of this kbuild, or incomplete")

func decodeInventory(data []byte) (inventory, error) {
	end := len(data) - 2*sha256.Size - 1
	if end < 0 {
		return nil, errInventory
	}
	sum := sha256.Sum256(data[:end])
	if string(data[end:]) != hex.EncodeToString(sum[:])+"\n" {
		return nil, errInventory
	}
	lines, ok := bytes.CutPrefix(data[:end], []byte(inventoryHeader))
	if !ok {
		return nil, errInventory
	}
	inv := inventory{}
	for line := range strings.Lines(string(lines)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 6)
		if len(fields) != 6 {
			return nil, errInventory
		}
		var f heldFile
		if n, err := hex.Decode(f.sum[:], []byte(fields[0])); err != nil || n != sha256.Size {
			return nil, errInventory
		}
		var n [4]int64
		for i := range n {
			var err error
			if n[i], err = strconv.ParseInt(fields[1+i], 10, 64); err != nil {
				return nil, errInventory
			}
		}
		f.Inode, f.Size, f.Mtim, f.Ctim = uint64(n[0]), n[1], unix.NsecToTimespec(n[2]), unix.NsecToTimespec(n[3])
		name, err := strconv.Unquote(fields[5])
		if err != nil {
			return nil, errInventory
		}
		inv[name] = f
	}
	return inv, nil
}

// readInventory reads the inventory of a state; false where there is none that
// can be trusted.
func readInventory(dir string) (inventory, bool) {
	data, err := os.ReadFile(filepath.Join(dir, inventoryFile))
	if err != nil {
		return nil, false
	}
	inv, err := decodeInventory(data)
	return inv, err == nil
}

// writeInventory writes it to the disk, on which what it speaks of is already.
func writeInventory(dir string, inv inventory) error {
	return files.WriteWhole(filepath.Join(dir, inventoryFile), 0o600, files.Self(), func(w io.Writer) error {
		_, err := w.Write(inv.encode())
		return err
	})
}

// filesOf lists the files of a state with what stat(2) says of them. Links and
// directories hold nothing that could be spoilt.
func filesOf(dir string) (map[string]files.Stamp, error) {
	found := map[string]files.Stamp{}
	for _, held := range heldDirs {
		root := filepath.Join(dir, held)
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && p == root {
				return nil
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			stamp, err := files.StampOf(p)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(dir, p)
			found[rel] = stamp
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// sums reads files of a state and returns the SHA-256 of each. What cannot be
// read has none.
func sums(dir string, names []string) map[string][sha256.Size]byte {
	var mu sync.Mutex
	found := make(map[string][sha256.Size]byte, len(names))
	next := make(chan string)
	var workers sync.WaitGroup
	for range min(len(names), runtime.GOMAXPROCS(0)) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			h, buffer := sha256.New(), make([]byte, 256<<10)
			for name := range next {
				h.Reset()
				if err := readInto(h, filepath.Join(dir, name), buffer); err == nil {
					mu.Lock()
					found[name] = [sha256.Size]byte(h.Sum(nil))
					mu.Unlock()
				}
			}
		}()
	}
	for _, name := range names {
		next <- name
	}
	close(next)
	workers.Wait()
	return found
}

func readInto(w io.Writer, name string, buffer []byte) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyBuffer(w, struct{ io.Reader }{f}, buffer)
	return err
}

// describes reports whether these files, and no others, are as the inventory says.
func (inv inventory) describes(found map[string]files.Stamp) bool {
	for name, stamp := range found {
		if was, ok := inv[name]; !ok || was.Stamp != stamp {
			return false
		}
	}
	return len(found) == len(inv)
}

// takeInventory returns the inventory of files. Only what is not as it was before is
// read; what cannot be read is not in it.
func takeInventory(dir string, found map[string]files.Stamp, before inventory) inventory {
	now := make(inventory, len(found))
	var unread []string
	for name, stamp := range found {
		if was, ok := before[name]; ok && was.Stamp == stamp {
			now[name] = was
		} else {
			unread = append(unread, name)
		}
	}
	for name, sum := range sums(dir, unread) {
		now[name] = heldFile{found[name], sum}
	}
	return now
}

// A verdict says which files of a state are not what its inventory says.
type verdict struct {
	// spoilt are those that are in it, and hold something else.
	spoilt []string
	// unknown are those that are not in it.
	unknown []string
}

// compare compares the files of a state with its inventory, which has only files that
// are there when it returns. Of a file that was touched and holds what it held it is
// brought up to date.
func (inv inventory) compare(dir string) (v verdict, err error) {
	found, err := filesOf(dir)
	if err != nil {
		return verdict{}, err
	}
	var unread []string
	for name, stamp := range found {
		was, known := inv[name]
		switch {
		case known && was.Stamp == stamp:
		case known, isCache(name):
			unread = append(unread, name)
		default:
			v.unknown = append(v.unknown, name)
		}
	}
	read := sums(dir, unread)
	for _, name := range unread {
		sum, ok := read[name]
		was, known := inv[name]
		switch {
		case ok && (known && sum == was.sum || !known && cacheHolds(dir, name, sum)):
			inv[name] = heldFile{found[name], sum}
		case known:
			v.spoilt = append(v.spoilt, name)
		default:
			v.unknown = append(v.unknown, name)
		}
	}
	maps.DeleteFunc(inv, func(name string, _ heldFile) bool {
		_, there := found[name]
		return !there
	})
	slices.Sort(v.spoilt)
	slices.Sort(v.unknown)
	return v, nil
}

// Go's build cache (cmd/go/internal/cache, DiskCache) names the files of its
// outputs by their SHA-256, with -d, and those that say which output an action
// has by the action's, with -a. So what a killed command left there need not be
// lost: Go itself looks at sizes only.
var cacheName = regexp.MustCompile(`(?:^|/)([0-9a-f]{64})-([ad])$`)

// cacheEntrySize is the size of a file that says which output an action has:
// "v1 <action> <output> <size> <time>\n", the numbers in twenty columns.
const cacheEntrySize = 2 + 1 + 64 + 1 + 64 + 1 + 20 + 1 + 20 + 1

func isCache(name string) bool { return cacheName.MatchString(name) }

// cacheHolds reports whether a file of Go's build cache is whole.
func cacheHolds(dir, name string, sum [sha256.Size]byte) bool {
	parts := cacheName.FindStringSubmatch(name)
	if parts[2] == "d" {
		return parts[1] == hex.EncodeToString(sum[:])
	}
	data, err := files.ReadRegular(filepath.Join(dir, name), cacheEntrySize)
	return err == nil && len(data) == cacheEntrySize && strings.HasPrefix(string(data), "v1 "+parts[1]+" ")
}

// remove removes files of a state, given by their paths in it. With one of
// the staging directories all of them go: the tree's scripts tell their files
// apart by size and time only.
func (inv inventory) remove(dir string, names []string) error {
	for _, name := range names {
		if strings.HasPrefix(name, "out/") {
			if err := inv.removeOut(dir); err != nil {
				return err
			}
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		delete(inv, name)
	}
	return nil
}

// removeOut removes the staging directories.
func (inv inventory) removeOut(dir string) error {
	maps.DeleteFunc(inv, func(name string, _ heldFile) bool { return strings.HasPrefix(name, "out/") })
	return os.RemoveAll(filepath.Join(dir, "out"))
}
