package objects

import (
	"archive/tar"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files/filestest"
)

// compiled is a state in which a command left files.
func compiled(t *testing.T, m sources.Manifest, left map[string]string) *State {
	t.Helper()
	s := openCached(t, newKeeper(t).dir)
	t.Cleanup(func() { s.Close() })
	if _, _, err := s.Prepare(m, kube.Version{}); err != nil {
		t.Fatal(err)
	}
	for name, content := range left {
		filestest.Write(t, filepath.Join(s.dir, name), content)
	}
	if err := s.Done(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCompare(t *testing.T) {
	const dir = "kept/go%2fpkg/"
	program := "kept/" + escape(gopathIn) + "/bin/p"
	var generated []string
	for i, entries := range [][]tarEntry{
		{{"a.go", "", "a", tar.TypeReg}, {"b.go", "", "b", tar.TypeReg}},
		{{"a.go", "", "a", tar.TypeReg}, {"b.go", "", "planted", tar.TypeReg}},
	} {
		file := filepath.Join(t.TempDir(), "x")
		writeTar(t, file, time.Unix(int64(i), 0), entries)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		generated = append(generated, string(data))
	}
	e := entryOf("x")
	action := func(output string) string {
		return strings.Join([]string{"v1", e.action, output, strings.Repeat(" ", 19) + "1", strings.Repeat(" ", 19) + "2\n"}, " ")
	}
	other := entryOf("planted")
	made := map[string]string{
		dir + "same.a": "same", dir + "differs.a": "differs", dir + "cgo.a": "/tmp/go-build1/x.c", program: "p /tmp/go-build1/x.c",
		"out/" + generatedFile: generated[0], e.names()[0]: action(e.output), e.names()[1]: "x",
	}
	held := map[string]string{
		dir + "same.a": "same", dir + "differs.a": "planted", dir + "cgo.a": "/tmp/go-build2/x.c", program: "p /tmp/go-build2/x.c",
		dir + "more.a": "planted", "out/" + generatedFile: generated[1], e.names()[0]: action(other.output),
		other.names()[1]: "planted",
	}
	wrong := []string{"/go/pkg/differs.a", "the action " + e.action[:16], "the generated b.go"}
	for what, c := range map[string]struct {
		held    map[string]string
		sources sources.Manifest
		built   Built
		same    int
		wrong   []string
		left    map[string]int
	}{
		"honest": {made, travelling, Built{}, 6, nil, map[string]int{}},
		"planted, old Go": {
			held, travelling, Built{ByTimes: true, Dated: true}, 2, wrong, map[string]int{LeftOther: 1, LeftCgo: 2},
		},
		"planted, new Go": {
			held, travelling, Built{Dated: true}, 2, append([]string{gopathIn + "/bin/p", "/go/pkg/cgo.a"}, wrong...),
			map[string]int{LeftOther: 1},
		},
		"no date": {
			held, travelling, Built{ByTimes: true}, 2, wrong, map[string]int{LeftOther: 1, LeftCgo: 1, LeftTime: 1},
		},
		"other sources": {
			held, manifestOf(map[string]byte{"pkg/a/a.go": 2}), Built{ByTimes: true, Dated: true}, 1, wrong[1:2],
			map[string]int{LeftOther: 5},
		},
	} {
		got, err := compiled(t, travelling, made).Compare(compiled(t, c.sources, c.held), c.built)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got.Wrong)
		same := len(got.Wrong) == len(c.wrong)
		for i := range got.Wrong {
			same = same && strings.HasPrefix(got.Wrong[i], slices.Sorted(slices.Values(c.wrong))[i])
		}
		if !same || got.Same != c.same || !maps.Equal(got.Left, c.left) {
			t.Errorf("%s: %+v, want %d, %q, %v", what, got, c.same, c.wrong, c.left)
		}
	}
}
