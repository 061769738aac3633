package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
)

func TestSummary(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   summary
	}{
		{[]float64{3}, summary{3, 3, 3}},
		{[]float64{4, 2}, summary{3, 2, 4}},
		{[]float64{9, 1, 2}, summary{2, 1, 9}},
		{[]float64{4, 1, 3, 2}, summary{2.5, 1, 4}},
	} {
		if got := summarize(test.values); got != test.want {
			t.Errorf("%v: %+v, want %+v", test.values, got, test.want)
		}
	}
}

// someReport is one with everything in it.
func someReport() report {
	r := report{
		Host: "2 x Some Processor, Linux 6.1, unprivileged", Tree: "kubernetes v1.2.3", Runs: 3,
		LeftOut: []string{"buildah: not installed"},
		Rows: []row{
			{Case: "same", Title: "nothing | changed", Cells: []cell{
				{Way: wayBare, Wall: []float64{1, 0.9, 1.3}, Began: []float64{0.1, 0.2, 0.1}, Memory: []int64{30 << 20, 10 << 20, 20 << 20}},
				{Way: wayKbuild, Wall: []float64{1.5, 1.25, 1.25}, Memory: []int64{1 << 20, 1 << 20, 1 << 20}},
				{Way: wayPodman, Error: "exit status 1:\nno | image"},
			}},
			{Case: "image", Title: "the image alone", Cells: []cell{
				{Way: wayKbuild, Wall: []float64{2}, Memory: []int64{44 << 20}, Error: "killed"},
			}},
		},
	}
	for i := range r.Rows {
		r.Rows[i].finish()
	}
	return r
}

func TestReport(t *testing.T) {
	const want = `kubernetes v1.2.3; 2 x Some Processor, Linux 6.1, unprivileged; 3 runs each, the ways taking turns

Left out: buildah: not installed

| case | way | median | min to max | overhead | before the script | peak memory |
|---|---|--:|--:|--:|--:|--:|
| nothing \| changed | bare | 1.00 s | 0.90 to 1.30 |  | 0.10 s | 20 MB |
|  | kbuild | 1.25 s | 1.25 to 1.50 | 0.25 s |  | 1 MB |
|  | podman | failed: exit status 1: no \| image |  |  |  |  |
| the image alone | kbuild | 2.00 s | 2.00 to 2.00 (1 runs, then: killed) |  |  | 44 MB |
`
	if got := someReport().markdown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	path := filepath.Join(t.TempDir(), "new", "bench")
	if err := someReport().write(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, someReport()) {
		t.Errorf("reads back as %+v, %v", back, err)
	}
	if data, err := os.ReadFile(path + ".md"); err != nil || string(data) != want {
		t.Errorf("Markdown is\n%s\n%v", data, err)
	}
}

func TestOptions(t *testing.T) {
	good := options{runs: 1}
	if err := good.check(nil); err != nil {
		t.Error(err)
	}
	for want, o := range map[string]options{
		"-runs 0":         {},
		"belong together": {runs: 1, tree: "k"},
		`no "cool"`:       {runs: 1, cases: []string{"same", "cool"}},
		`no "docker"`:     {runs: 1, ways: []string{"docker"}},
	} {
		if err := o.check(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	if err := good.check([]string{"run"}); err == nil {
		t.Error("an argument is taken")
	}
}

func TestOwnEnvironment(t *testing.T) {
	got := ownEnvironment([]string{"PATH=/bin", "KUBE_FASTBUILD=true", "KBUILD_MIRROR=x", "GOFLAGS=-x", "GOROOT=/go", "CC=gcc -O", "STORAGE_DRIVER=vfs", "GIT_DIR=x"})
	if want := []string{"PATH=/bin", "CC=gcc -O"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEdited(t *testing.T) {
	text := append(make([]byte, 0, 1000), "package x\n"...)
	one, two := edited(text, 1), edited(text, 2)
	if string(one) == string(two) || len(one) != len(two) || !strings.HasPrefix(string(two), "package x\n\nvar _ = ") {
		t.Errorf("%q and %q", one, two)
	}
}

func TestBuildahScript(t *testing.T) {
	script := buildahScript(kube.Recipe{
		Archive: "a.tar.gz", SourceList: []string{"cmd", "pkg"}, Persistent: []string{"/x/go"}, Outputs: []kube.Output{{Container: "/x/bin"}},
		Environment: []string{"A=b c"}, Command: []string{"hack/build.sh"},
	}, "/w/context", "/w/kept")
	for _, want := range []string{
		"tar czf '/w/context/a.tar.gz' cmd pkg\n", `--volume "/w/kept/0:/x/go"`, `--volume "$PWD/_output/dockerized/bin:/x/bin"`, "--env 'A=b c'", ` $c hack/build.sh "$@"`,
	} {
		if !strings.Contains(script, want) {
			t.Errorf("no %s in\n%s", want, script)
		}
	}
	if out, err := exec.Command("bash", "-n", "-c", script).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, script)
	}
}

func TestTime(t *testing.T) {
	b := &bench{first: regexp.MustCompile("two")}
	m, err := b.time(context.Background(), exec.Command("bash", "-c", "echo one; sleep 0.1; echo two >&2; sleep 0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if m.began < 0.1 || m.wall < m.began+0.1 || m.memory <= 0 {
		t.Errorf("%+v", m)
	}
	if m, err := b.time(context.Background(), exec.Command("true")); err != nil || m.began != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	_, err = b.time(context.Background(), exec.Command("bash", "-c", "for i in 1 2 3 4; do echo line $i; done; exit 3"))
	if err == nil || err.Error() != "bash: exit status 3: line 2 / line 3 / line 4" {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.time(ctx, exec.Command("sleep", "60")); err == nil {
		t.Error("a command went on after the end")
	}
}

// fakeWay is a way whose runs fail from a certain one on.
type fakeWay struct {
	place
	called   string
	works    int
	runs     *int
	prepared *int
	failWith error
}

func (w fakeWay) name() string { return w.called }
func (w fakeWay) prepare(context.Context) error {
	*w.prepared++
	return w.failWith
}
func (w fakeWay) build(string, []string) *exec.Cmd {
	*w.runs++
	if *w.runs > w.works {
		return exec.Command("false")
	}
	return exec.Command("true")
}

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	b := &bench{
		options: options{runs: 3, targets: [2]string{"a", "b"}, edit: "x.go"},
		dir:     dir, pristine: filepath.Join(dir, "pristine"), first: regexp.MustCompile("x"),
	}
	write := func(content string, path ...string) {
		t.Helper()
		file := filepath.Join(append([]string{dir}, path...)...)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("package x\n", "pristine", "x.go")
	fake := func(name string, works int) fakeWay {
		write("package x\n", name, "kubernetes", "x.go")
		return fakeWay{place: place{b, filepath.Join(dir, name)}, called: name, works: works, runs: new(int), prepared: new(int)}
	}
	good, bad := fake(wayBare, 100), fake(wayPodman, 2)
	b.ways = []way{good, bad}
	r, err := b.measure(context.Background(), benchCase{name: "same", title: "t", warm: true})
	if err != nil {
		t.Fatal(err)
	}
	if *good.runs != 4 || len(r.Cells[0].Wall) != 3 || r.Cells[0].Error != "" {
		t.Errorf("%d runs of the good one: %+v", *good.runs, r.Cells[0])
	}
	if *bad.runs != 3 || len(r.Cells[1].Wall) != 1 || r.Cells[1].Error == "" || r.Cells[1].Over == nil {
		t.Errorf("%d runs of the bad one: %+v", *bad.runs, r.Cells[1])
	}
	if r, err := b.measure(context.Background(), benchCase{name: "image", image: true}); err != nil || len(r.Cells) != 0 {
		t.Errorf("the image alone: %+v, %v", r, err)
	}

	// What one case changed, the next one does not find.
	changed := filepath.Join(good.tree(), "x.go")
	if _, err := b.measure(context.Background(), benchCase{name: "edit", before: (*bench).editFile}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(changed); err != nil || !strings.Contains(string(text), "kbuild-bench 000003") {
		t.Errorf("after the edits: %q, %v", text, err)
	}

	write("", wayBare, "kubernetes", "_output", "kubelet")
	write("", wayBare, "store", "layer")
	bad.failWith = errors.New("stuck")
	b.ways[1] = bad
	r, err = b.measure(context.Background(), benchCase{name: "cold", title: "t", before: (*bench).fresh})
	if err != nil || *good.prepared != 3 || *bad.prepared != 1 || r.Cells[1].Error != "stuck" {
		t.Errorf("prepared %d and %d times: %+v, %v", *good.prepared, *bad.prepared, r, err)
	}
	if text, err := os.ReadFile(changed); err != nil || string(text) != "package x\n" {
		t.Errorf("another case begins with %q, %v", text, err)
	}
	for _, path := range []string{"kubernetes/_output", "store"} {
		if _, err := os.Stat(filepath.Join(good.dir, path)); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
	for _, path := range []string{"built-0/kubelet", "store/layer"} {
		if found, err := filepath.Glob(filepath.Join(dir, "aside", wayBare+"-*", path)); err != nil || len(found) != 1 {
			t.Errorf("%s is not put aside: %q, %v", path, found, err)
		}
	}
}
