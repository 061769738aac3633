package travel

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// layerOf is a layer that holds something.
func layerOf(s string) Layer {
	return Layer{Digest: digest.FromString(s), DiffID: digest.FromString(s + "x"), Size: int64(len(s))}
}

// smallTable is a table with something in each field.
func smallTable() *Table {
	sum := sha256.Sum256([]byte("output"))
	return &Table{
		Key: []byte("key"), Generation: 7, Cold: time.Minute,
		Packs: []Pack{
			{layerOf("first"), []Chunk{{1, minChunk}, {2, MaxChunk}, {3, 5}}},
			{layerOf("second"), []Chunk{{4, 6}}},
		},
		Objects: []Object{
			{Path: Record, Size: 6, Chunks: []uint32{3}, Used: 7},
			{Path: "kept/a/" + hex.EncodeToString(sum[:]) + "-d", Size: 6, Sum: sum, Chunks: []uint32{3}, Used: 6},
			{Path: "kept/b/b.a", Size: minChunk + MaxChunk + 5, Sum: sum, Time: 1234567890, Chunks: []uint32{0, 1, 2}},
			{Path: "kept/b/empty", Sum: sha256.Sum256(nil), Time: 1},
			{Path: "out/x/kubelet", Size: MaxChunk + 6, Exec: true, Time: 3, Chunks: []uint32{1, 3}},
		},
		Targets: []Target{{Name: "cmd/a", Generation: 3, Uses: []byte{5}}, {Name: "cmd/b", Uses: []byte{}}},
	}
}

func TestTable(t *testing.T) {
	want := smallTable()
	if err := NewWriter(t.TempDir()).Table(want); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(want.Layer.File)
	if err != nil || digest.FromBytes(data) != want.Layer.Digest || int64(len(data)) != want.Layer.Size {
		t.Fatalf("%+v, %v", want.Layer, err)
	}
	got, err := ReadTable(want.Layer, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	want.Layer.File = ""
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v, wrote\n%+v", got, want)
	}
	target, ok := got.Target("cmd/a")
	if !ok || !target.Has(0) || target.Has(1) || !target.Has(2) || target.Has(3) || target.Has(1000) {
		t.Errorf("target is %+v", target)
	}
	if layers := got.Layers(); len(layers) != 3 || layers[0] != want.Layer || layers[2] != layerOf("second") {
		t.Errorf("layers are %+v", layers)
	}
}

// What no table says is neither written nor read.
func TestTableRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Table){
		"absolute":       func(t *Table) { t.Objects[4].Path = "/etc/passwd" },
		"above":          func(t *Table) { t.Objects[4].Path = "kept/../../x" },
		"dots":           func(t *Table) { t.Objects[4].Path = "out/.." },
		"not clean":      func(t *Table) { t.Objects[4].Path = "out//x" },
		"a dot":          func(t *Table) { t.Objects[4].Path = "out/./x" },
		"a slash":        func(t *Table) { t.Objects[4].Path = "out/x/" },
		"a root":         func(t *Table) { t.Objects[4].Path = "out" },
		"NUL":            func(t *Table) { t.Objects[4].Path = "out/a\x00b" },
		"elsewhere":      func(t *Table) { t.Objects[4].Path = "lock" },
		"the inventory":  func(t *Table) { t.Objects[4].Path = "outventory/x" },
		"long":           func(t *Table) { t.Objects[4].Path = "out/" + strings.Repeat("x", MaxName) },
		"no path":        func(t *Table) { t.Objects[0].Path = "" },
		"out of order":   func(t *Table) { t.Objects[4].Path = "kept/a" },
		"twice":          func(t *Table) { t.Objects[4].Path = t.Objects[3].Path },
		"another size":   func(t *Table) { t.Objects[4].Size++ },
		"a size":         func(t *Table) { t.Objects[4].Size = -1 },
		"a time":         func(t *Table) { t.Objects[4].Time = -1 },
		"no chunk":       func(t *Table) { t.Objects[4].Chunks[1] = 4 },
		"many chunks":    func(t *Table) { t.Objects[1].Chunks, t.Objects[1].Size = []uint32{3, 3, 3}, 18 },
		"an empty chunk": func(t *Table) { t.Packs[1].Chunks = append(t.Packs[1].Chunks, Chunk{}) },
		"a large chunk":  func(t *Table) { t.Packs[1].Chunks = append(t.Packs[1].Chunks, Chunk{9, MaxChunk + 1}) },
		"no digest":      func(t *Table) { t.Packs[1].Layer.Digest = "" },
		"no size":        func(t *Table) { t.Packs[1].Layer.Size = 0 },
		"a large pack":   func(t *Table) { t.Packs[1].Layer.Size = MaxPack + 1 },
		"large packs":    func(t *Table) { t.Packs[0].Layer.Size, t.Packs[1].Layer.Size = MaxPack/2+1, MaxPack/2+1 },
		"many packs":     func(t *Table) { t.Packs = append(t.Packs, make([]Pack, MaxPacks)...) },
		"targets":        func(t *Table) { t.Targets[1].Name = "cmd/a" },
		"uses":           func(t *Table) { t.Targets[1].Uses = []byte{1, 2} },
		"a long key":     func(t *Table) { t.Key = make([]byte, maxKey+1) },
		"a cold time":    func(t *Table) { t.Cold = -1 },
	} {
		table := smallTable()
		spoil(table)
		if _, err := table.encode(); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

// Every byte that is another, more or fewer is noticed, or makes another table: there is
// no second encoding of one.
func TestTableBytes(t *testing.T) {
	data, err := smallTable().encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		for _, bit := range []byte{1, 0x80, 0xff} {
			spoilt := bytes.Clone(data)
			spoilt[i] ^= bit
			if table, err := decode(spoilt); err == nil && reflect.DeepEqual(table, smallTable()) {
				t.Errorf("byte %d does not count", i)
			}
		}
		if _, err := decode(data[:i]); err == nil {
			t.Errorf("read of %d bytes", i)
		}
	}
	if _, err := decode(append(bytes.Clone(data), 0)); err == nil {
		t.Error("one byte more is read")
	}
	newer := bytes.Replace(data, []byte(tableMagic+"\x01"), []byte(tableMagic+"\x02"), 1)
	var format *FormatError
	if _, err := decode(newer); !errors.As(err, &format) || format.Format != 2 {
		t.Errorf("of a newer format: %v", err)
	}
}

// A few bytes cannot ask for much memory.
func TestTableIsBounded(t *testing.T) {
	table := smallTable()
	table.Objects = nil
	var chunks []Chunk
	var all []uint32
	for i := range uint32(1000) {
		chunks, all = append(chunks, Chunk{ID(i), minChunk}), append(all, i)
	}
	table.Packs = []Pack{{layerOf("x"), chunks}}
	for i := range 3000 { // three million chunks in 50 KB
		table.Objects = append(table.Objects, Object{Path: "kept/" + string(rune(0x10000+i)), Size: 1000 * minChunk, Chunks: all})
	}
	table.Targets = nil
	data, err := table.encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decode(data); err == nil {
		t.Errorf("%d bytes are read", len(data))
	}
}

func FuzzTable(f *testing.F) {
	data, err := smallTable().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(tableMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := decode(data)
		if err != nil {
			return
		}
		again, err := table.encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("read %q, encoded as %q, %v", data, again, err)
		}
	})
}

// Pieces of what is read come back, whatever their sizes.
func TestPack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	w, err := NewWriter(dir).Pack("pack")
	if err != nil {
		t.Fatal(err)
	}
	var chunks [][]byte
	for range 100 {
		chunk := make([]byte, 1+random.IntN(MaxChunk))
		for i := range chunk {
			chunk[i] = byte(random.IntN(4))
		}
		chunks = append(chunks, chunk)
		if err := w.Add(IDOf(chunk), chunk); err != nil {
			t.Fatal(err)
		}
	}
	p, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadFile(p.Layer.File)
	if err != nil || digest.FromBytes(stored) != p.Layer.Digest || int64(len(stored)) != p.Layer.Size {
		t.Fatal(err, p.Layer)
	}
	read := func(p Pack, r io.Reader, most int) (int, error) {
		next := 0
		err := p.Read(t.Context(), r, func(i int, data []byte) (bool, error) {
			if i != next || !bytes.Equal(data, chunks[i]) || IDOf(data) != p.Chunks[i].ID {
				t.Errorf("chunk %d is another", i)
			}
			next++
			return next < most, nil
		})
		return next, err
	}
	if n, err := read(p, bytes.NewReader(stored), 1000); n != 100 || err != nil {
		t.Errorf("%d chunks, %v", n, err)
	}
	if n, err := read(p, bytes.NewReader(stored), 3); n != 3 || err != nil {
		t.Errorf("%d of 3 chunks, %v", n, err)
	}
	var invalid *InvalidError
	if _, err := read(p, bytes.NewReader(stored[:len(stored)-100]), 1000); !errors.As(err, &invalid) {
		t.Errorf("of a short layer: %v", err)
	}
	if _, err := read(p, bytes.NewReader(append(bytes.Clone(stored), 0)), 1000); !errors.As(err, &invalid) {
		t.Errorf("of a long layer: %v", err)
	}
	broken := errors.New("broken")
	if _, err := read(p, io.MultiReader(bytes.NewReader(stored[:len(stored)/2]), failing{broken}), 1000); !errors.Is(err, broken) {
		t.Errorf("of a reader that fails: %v", err)
	}
	// The error of a reader that checks a digest comes with the end.
	if _, err := read(p, io.MultiReader(bytes.NewReader(stored), failing{broken}), 1000); !errors.Is(err, broken) {
		t.Errorf("of a reader that fails at the end: %v", err)
	}
	longer := p
	longer.Chunks = append(longer.Chunks[:100:100], Chunk{1, 1})
	if n, err := read(longer, bytes.NewReader(stored), 1000); n != 100 || !errors.As(err, &invalid) {
		t.Errorf("of a pack that should be longer: %d, %v", n, err)
	}
}

// Files without bytes, of which any number takes next to none, are not looped over.
func TestEmptyPieces(t *testing.T) {
	w, err := NewWriter(t.TempDir()).layer("layer")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write([]byte("something")); err != nil {
		t.Fatal(err)
	}
	l, err := w.finish()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadFile(l.File)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ReadTable(l, bytes.NewReader(stored))
	if err == nil || !strings.Contains(err.Error(), "without bytes") {
		t.Errorf("a table: %v", err)
	}
	l.Size = 1 << 40
	if _, err := ReadTable(l, failing{errors.New("it is read")}); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a large table: %v", err)
	}
	// A layer of pieces that are full has one without bytes at its end.
	full := smallTable()
	empty, err := full.encode()
	if err != nil {
		t.Fatal(err)
	}
	full.Key = append(full.Key, make([]byte, pieceSize-len(empty)-2)...)
	if data, err := full.encode(); err != nil || len(data) != pieceSize {
		t.Fatal(len(data), err)
	}
	if err := NewWriter(t.TempDir()).Table(full); err != nil {
		t.Fatal(err)
	}
	if stored, err = os.ReadFile(full.Layer.File); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTable(full.Layer, bytes.NewReader(stored)); err != nil {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// An insertion changes the chunks around it and no others.
func TestCut(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	data := make([]byte, 4<<20)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	cut := func(data []byte) map[ID]bool {
		ids := map[ID]bool{}
		for len(data) > 0 {
			n := Cut(data)
			if n > MaxChunk || n < minChunk && n < len(data) || n == 0 {
				t.Fatalf("a chunk of %d bytes", n)
			}
			ids[IDOf(data[:n])] = true
			data = data[n:]
		}
		return ids
	}
	before := cut(data)
	if n := len(before); n < 150 || n > 300 {
		t.Errorf("%d chunks of 4 MB", n)
	}
	middle := len(data) / 2
	after := cut(append(append(bytes.Clone(data[:middle]), "inserted"...), data[middle:]...))
	fresh := 0
	for id := range after {
		if !before[id] {
			fresh++
		}
	}
	if fresh == 0 || fresh > 5 {
		t.Errorf("%d of %d chunks are new", fresh, len(after))
	}
	if Cut(nil) != 0 || Cut(make([]byte, 3)) != 3 || Cut(make([]byte, 1<<20)) > MaxChunk {
		t.Error("sizes")
	}
}
