package objects

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/storage/files/filestest"
)

// A fakeArchive is what Go's compiler makes of a package, as far as readArchive looks.
type fakeArchive struct {
	of      byte // its fingerprint
	imports []byte
	program string // its directory, of a main
	file    string // its source file, "" for main.go in that directory
	inlined int    // how many other files it has
	more    string // what follows
}

func (a fakeArchive) String() string {
	var object, texts bytes.Buffer
	header := blocks + 4*(sourceFiles+2)
	texts.WriteString("example.com/imported")
	file := cmp.Or(a.file, "gofile../src/cmd/"+a.program+"/main.go")
	texts.WriteString(file)
	lists := header + texts.Len()
	list := lists + 16*len(a.imports)
	object.WriteString("\x00go120ld")
	object.Write(bytes.Repeat([]byte{a.of}, 8))
	number := func(n int) { object.Write(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
	for _, n := range []int{0, lists, list, list, list + 8*(1+a.inlined)} {
		number(n)
	}
	object.Write(texts.Bytes())
	for _, i := range a.imports {
		number(len("example.com/imported"))
		number(header)
		object.Write(bytes.Repeat([]byte{i}, 8))
	}
	number(len(file))
	number(header + len("example.com/imported"))
	for range a.inlined {
		number(len("example.com/imported"))
		number(header)
	}
	object.WriteString(a.more)
	text := "go object linux amd64 go1.21.6 X:none\nbuild id \"a/b\"\n"
	if a.program != "" {
		text += "main\n"
	}
	b := archiveMagic
	for _, m := range []struct{ name, content string }{
		{"__.PKGDEF", text + "\n\n$$B\nexported\n$$\n"}, {"_go_.o", text + "\n\n!\n" + object.String()},
	} {
		b += strings.Repeat("\x00", len(b)%2)
		b += fmt.Sprintf("%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", m.name, 0, 0, 0, 0o644, len(m.content), m.content)
	}
	return b
}

func read(content string) (archive, error) {
	return readArchive(strings.NewReader(content), int64(len(content)))
}

// compile compiles a package of one file with the Go that runs the test, without the
// standard library.
func compile(t *testing.T, dir, name, code string, imported ...string) string {
	t.Helper()
	source, config, to := filepath.Join(dir, "cmd", name, "main.go"), filepath.Join(dir, name+".cfg"), filepath.Join(dir, name+".a")
	lines := ""
	for _, i := range imported {
		lines += fmt.Sprintf("packagefile example.com/%s=%s\n", i, filepath.Join(dir, i+".a"))
	}
	filestest.Write(t, config, lines)
	filestest.Write(t, source, code)
	out, err := exec.Command("go", "tool", "compile", "-p", "example.com/"+name, "-buildid", "action/content", "-pack",
		"-importcfg", config, "-o", to, source).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// What the compiler of today writes is read.
func TestReadArchive(t *testing.T) {
	dir := t.TempDir()
	low, err := read(compile(t, dir, "low", "package low\n\nfunc F() int { return 1 }\n"))
	if err != nil || len(low.imports) != 0 || low.programs != nil {
		t.Fatalf("%+v, %v", low, err)
	}
	high, err := read(compile(t, dir, "high", "package high\n\nimport \"example.com/low\"\n\nfunc G() int { return low.F() }\n", "low"))
	if err != nil || !slices.Equal(high.imports, []fingerprint{low.fingerprint}) || high.programs != nil {
		t.Fatalf("%+v, %v; %x is imported", high, err, low.fingerprint)
	}
	tool, err := read(compile(t, dir, "tool", "package main\n\nimport \"example.com/high\"\n\nfunc main() { println(high.G()) }\n", "high"))
	if err != nil || !slices.Equal(tool.imports, []fingerprint{high.fingerprint}) || !slices.Contains(tool.programs, "tool") {
		t.Fatalf("%+v, %v; %x is imported", tool, err, high.fingerprint)
	}
	fake, err := read(fakeArchive{of: 7, imports: []byte{8, 9}, program: "tool"}.String())
	if err != nil || fake.fingerprint[0] != 7 || len(fake.imports) != 2 || !slices.Equal(fake.programs, []string{"tool"}) {
		t.Errorf("%+v, %v", fake, err)
	}
}

// Of a main package into which much was inlined the name is still found.
func TestReadArchiveInlined(t *testing.T) {
	a, err := read(fakeArchive{program: "tool", inlined: 3 * ownSources}.String())
	if err != nil || !slices.Contains(a.programs, "tool") {
		t.Errorf("%+v, %v", a, err)
	}
}

// A test's program is called as the package that it tests.
func TestReadArchiveTest(t *testing.T) {
	a, err := read(fakeArchive{imports: []byte{1}, program: "main", file: "_testmain.go"}.String())
	if err != nil || !slices.Contains(a.programs, "imported.test") {
		t.Errorf("%+v, %v", a, err)
	}
}

// Whatever is cut off or lies is an error, or something else that is small.
func TestReadArchiveDamaged(t *testing.T) {
	good := fakeArchive{imports: []byte{1, 2, 3}, program: "tool"}.String()
	for n := range len(good) {
		if a, err := read(good[:n]); err == nil {
			t.Errorf("%d of %d bytes are %+v", n, len(good), a)
		}
	}
	for n := range len(good) {
		for _, b := range []byte{0, 0x7f, 0xff, '9'} {
			lie := []byte(good)
			lie[n] = b
			if a, err := read(string(lie)); err == nil && len(a.imports) > len(good)/16 {
				t.Errorf("byte %d is %x: %d imports", n, b, len(a.imports))
			}
		}
	}
}

func FuzzReadArchive(f *testing.F) {
	f.Add([]byte(fakeArchive{imports: []byte{1, 2, 3}, program: "tool"}.String()))
	f.Add([]byte(fakeArchive{of: 1, more: "more"}.String()))
	f.Add([]byte(archiveMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := read(string(data))
		if err == nil && 16*len(a.imports) > len(data) {
			t.Errorf("%d imports in %d bytes", len(a.imports), len(data))
		}
		for _, p := range a.programs {
			if len(p) > maxSource+len(".test") {
				t.Errorf("a name has %d bytes", len(p))
			}
		}
	})
}
