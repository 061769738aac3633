package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
)

func TestCutSources(t *testing.T) {
	r := kube.Recipe{Archive: "s.tar.gz", Workdir: "/go/src/k"}
	for text, want := range map[string]string{
		"FROM x\nADD s.tar.gz /go/src/k\n":              "FROM x\n",
		"FROM x\nRUN y\n\nadd s.tar.gz /go/src/k/\n\n":  "FROM x\nRUN y\n\n",
		"FROM x\nADD s.tar.gz /go/src/k\nRUN after\n":   "",
		"FROM x\nADD s.tar.gz /elsewhere\n":             "",
		"FROM x\nADD --chown=1 s.tar.gz /go/src/k\n":    "",
		"FROM x\nADD other s.tar.gz /go/src/k\n":        "",
		"FROM x\nRUN echo \\\nADD s.tar.gz /go/src/k\n": "",
		"": "",
	} {
		got, ok := cutSources([]byte(text), r)
		if ok != (want != "") || string(got) != want {
			t.Errorf("%q: %q, %t, want %q", text, got, ok, want)
		}
	}
}

func TestShortError(t *testing.T) {
	cause := errors.New(`building at STEP "ADD x": {lots:of:struct} copier: put: error writing: no space left on device`)
	if got := shortError(cause); got.Error() != "put: error writing: no space left on device" || !errors.Is(got, cause) {
		t.Errorf("%v", got)
	}
	plain := errors.New("plain")
	if got := shortError(plain); got != plain {
		t.Errorf("%v", got)
	}
}

func TestLastLines(t *testing.T) {
	if got := lastLines("a\nb\nc\n", 2); got != "\n    b\n    c" {
		t.Errorf("%q", got)
	}
	if got := lastLines(" \n", 2); got != "" {
		t.Errorf("%q", got)
	}
}

func TestLastError(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if got := lastError(log); got != "" {
		t.Errorf("no log says %q", got)
	}
	for text, want := range map[string]string{
		"":              "",
		"no json\n{}\n": "",
		`{"level":"warning","msg":"slow"}` + "\n":                                               "",
		`{"level":"error","msg":"runc run failed: exec: \"/x\": permission denied","time":"t"}`: `runc run failed: exec: "/x": permission denied`,
		`{"msg":"one","level":"error"}` + "\n" + `{"msg":"two","level":"error"}` + "\nhalf {":   "two",
	} {
		write(t, log, text)
		if got := lastError(log); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestWhyEnded(t *testing.T) {
	for status, want := range map[int]string{1: "runc: exit status 1", 128 + 9: "a signal ended it: killed", 128 + 15: "a signal ended it: terminated"} {
		err := exec.Command("bash", "-c", fmt.Sprintf("exit %d", status)).Run()
		got := whyEnded("/usr/sbin/runc", err)
		var hint interface{ Hint() string }
		if got.Error() != want || errors.As(got, &hint) != (status == 137) {
			t.Errorf("%d: %v, want %s", status, got, want)
		}
	}
}

func TestCommandStatus(t *testing.T) {
	dir := t.TempDir()
	if _, err := commandStatus(dir); err == nil {
		t.Error("no status, no error")
	}
	for text, want := range map[string]int{"0\n": 0, "127\n": 127, "x\n": -1} {
		write(t, filepath.Join(dir, "status"), text)
		got, err := commandStatus(dir)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	first, err := Lock(context.Background(), dir, func() { t.Error("the first waits") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	said := 0
	if _, err := Lock(ctx, dir, func() { said++; cancel() }); !errors.Is(err, context.Canceled) || said != 1 {
		t.Errorf("the second: %v, said %d times", err, said)
	}
	waiting := make(chan struct{})
	got := make(chan error, 1)
	go func() {
		f, err := Lock(context.Background(), dir, func() { close(waiting) })
		if err == nil {
			err = f.Close()
		}
		got <- err
	}()
	<-waiting
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("the third: %v", err)
	}
}

// Only what differs is written, and an archive somebody touched is not trusted.
func TestWriteContext(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "src/a.go"), "package a")
	tree := kube.Tree{Root: root, Recipe: kube.Recipe{
		Way: kube.WayArchive, Context: "_output/images/x", SourceList: []string{"src"}, Archive: "s.tar.gz", VersionDefs: "defs",
	}}
	state := t.TempDir()
	do := func() Context {
		t.Helper()
		m, err := tree.Sources(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		c, err := WriteContext(context.Background(), tree, m, kube.Version{Commit: "c"}, []byte("FROM x\n"), state)
		if err := errors.Join(err, c.Wait()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := do()
	if !first.Changed {
		t.Error("nothing was written at first")
	}
	if again := do(); again.Changed || again.Digest != first.Digest {
		t.Errorf("again: %+v, first %+v", again, first)
	}
	archive := filepath.Join(first.Dir, "s.tar.gz")
	held, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"touched":  func() error { return os.Chtimes(archive, time.Now(), time.Now().Add(time.Second)) },
		"removed":  func() error { return os.Remove(archive) },
		"replaced": func() error { return os.WriteFile(archive, []byte("rubbish"), 0o644) },
		"defs":     func() error { return os.WriteFile(filepath.Join(first.Dir, "defs"), []byte("x"), 0o644) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if c := do(); !c.Changed {
			t.Errorf("%s: nothing was written", name)
		}
		if now, err := os.ReadFile(archive); err != nil || string(now) != string(held) {
			t.Errorf("%s: the archive is another, %v", name, err)
		}
	}
	write(t, filepath.Join(root, "src/a.go"), "package b")
	if c := do(); !c.Changed || c.Digest == first.Digest {
		t.Errorf("after an edit: %+v", c)
	}
	entries, err := os.ReadDir(first.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "Dockerfile defs s.tar.gz" {
		t.Errorf("the context holds %s", got)
	}
}
