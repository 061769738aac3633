package container

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage/files/filestest"
	"github.com/kbuild/kbuild/storage/namespace"
)

// watcher passes output on and tells when some text has come, once.
type watcher struct {
	to      io.Writer
	until   string
	reached func()

	mu   sync.Mutex
	seen strings.Builder
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Write(p)
	if w.until != "" && strings.Contains(w.seen.String(), w.until) {
		w.until = ""
		w.reached()
	}
	return w.to.Write(p)
}

// staticProbe puts a program that needs no library where FindHost would copy
// this one, which is not static in a test. It ends with the status.
func staticProbe(t *testing.T, dir string, status byte) {
	t.Helper()
	// exit_group(status), see syscall(2) for the registers and numbers.
	machine, code := uint16(62), []byte{0xbf, status, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05} // mov edi; mov eax; syscall
	if runtime.GOARCH == "arm64" {
		machine = 183
		code = binary.LittleEndian.AppendUint32(nil, 0xd2800000|uint32(status)<<5) // mov x0
		code = binary.LittleEndian.AppendUint32(code, 0xd2800000|94<<5|8)          // mov x8
		code = binary.LittleEndian.AppendUint32(code, 0xd4000001)                  // svc 0
	}
	// One header and one loadable segment that is the whole file, see elf(5).
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(code))
	var b bytes.Buffer
	for _, v := range []any{
		[]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"), uint16(2), machine, uint32(1),
		uint64(base + headers), uint64(64), uint64(0), uint32(0), uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), code,
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "probe"), b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
}

// wrapped puts runtimes into PATH that note in a file how often they were
// called to create a container; the rest is the script's.
func wrapped(t *testing.T, scripts map[string]string) (calls func() int) {
	t.Helper()
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "calls")
	for _, name := range runtimes {
		script, ok := scripts[name]
		if !ok {
			script = "echo 'no \"" + name + "\" today' >&2; exit 1"
		}
		text := "#!/bin/sh\ncase \"$*\" in *' run '*) echo >>" + log + ";; esac\n" + script + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() int {
		data, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return len(data)
	}
}

// working chooses the way in which containers run here.
func working(t *testing.T) Host {
	t.Helper()
	t.Setenv(namespace.SurroundingsVariable, "container of a test")
	dir := t.TempDir()
	staticProbe(t, dir, 0)
	host, attempts, err := FindHost(context.Background(), "", dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attempts {
		t.Logf("%s: %s", a.Runtime, a.Answer)
	}
	return host
}

func TestFindHost(t *testing.T) {
	ctx := context.Background()
	found := working(t)
	// A trial leaves nothing of its container.
	clean := func(dir string) {
		t.Helper()
		if left, err := filepath.Glob(filepath.Join(dir, "probe-*")); err != nil || len(left) != 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
	clean(found.Dir)

	t.Run("none starts a container", func(t *testing.T) {
		wrapped(t, nil)
		for _, test := range []struct {
			surroundings string
			asked        Isolation
			chroot       bool
		}{{"container x", "", true}, {"bare", "", false}, {"container x", IsolationOCI, false}, {"container x", IsolationRootless, false}} {
			t.Setenv(namespace.SurroundingsVariable, test.surroundings)
			dir := t.TempDir()
			staticProbe(t, dir, 0)
			host, attempts, err := FindHost(ctx, test.asked, dir, t.TempDir())
			clean(dir)
			if len(attempts) != 2 || !strings.HasSuffix(attempts[0].Runtime, "/runc") || attempts[1].Answer != `no "crun" today` {
				t.Errorf("%+v: attempts %v", test, attempts)
			}
			if test.chroot {
				if err != nil || host.Isolation != IsolationChroot || host.Runtime != "" {
					t.Errorf("%+v: host %+v, %v", test, host, err)
				}
				continue
			}
			var none *NoRuntimeError
			if !errors.As(err, &none) || none.Asked != test.asked || !strings.Contains(err.Error(), `no "runc" today`) {
				t.Errorf("%+v: error %v", test, err)
			}
		}
	})
	t.Run("chroot asked for", func(t *testing.T) {
		calls := wrapped(t, nil)
		host, attempts, err := FindHost(ctx, IsolationChroot, t.TempDir(), t.TempDir())
		if err != nil || host.Isolation != IsolationChroot || host.Runtime != "" || len(attempts) != 0 || calls() != 0 {
			t.Errorf("host %+v, attempts %v, %v", host, attempts, err)
		}
	})
	if found.Runtime == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("CI is set, and no OCI runtime starts a container here")
		}
		t.Skip("NOT TESTED with a runtime: no OCI runtime starts a container here")
	}
	t.Run("the second one does", func(t *testing.T) {
		calls := wrapped(t, map[string]string{"crun": "exec " + found.Runtime + ` "$@"`})
		dir, cache := t.TempDir(), t.TempDir()
		staticProbe(t, dir, 0)
		host, attempts, err := FindHost(ctx, "", dir, cache)
		clean(dir)
		if err != nil || filepath.Base(host.Runtime) != "crun" || len(attempts) != 1 || attempts[0].Answer != `no "runc" today` {
			t.Errorf("host %+v, attempts %v, %v", host, attempts, err)
		}
		if host.Isolation != found.Isolation || host.Dir != dir || calls() != 2 {
			t.Errorf("host %+v after %d calls", host, calls())
		}
	})
	t.Run("what is known is not tried again", func(t *testing.T) {
		calls := wrapped(t, map[string]string{"runc": "exec " + found.Runtime + ` "$@"`})
		dir, cache := t.TempDir(), t.TempDir()
		staticProbe(t, dir, 0)
		for i, want := range []int{1, 1, 2, 3} {
			switch i {
			case 2: // another runtime in the same place
				if err := os.Chtimes(FindRuntimes()[0], time.Time{}, time.Unix(1, 0)); err != nil {
					t.Fatal(err)
				}
			case 3: // a record that cannot be read
				filestest.Write(t, filepath.Join(cache, "runtime.json"), "{")
			}
			if _, _, err := FindHost(ctx, "", dir, cache); err != nil {
				t.Fatal(err)
			}
			if got := calls(); got != want {
				t.Errorf("time %d: tried %d times, want %d", i+1, got, want)
			}
			clean(dir)
		}
	})
	t.Run("what is known and no longer true is forgotten", func(t *testing.T) {
		broken := filepath.Join(t.TempDir(), "broken")
		starts := "exec " + found.Runtime + ` "$@"`
		calls := wrapped(t, map[string]string{"runc": "test ! -e " + broken + " || { echo no cgroups >&2; exit 1; }\n" + starts, "crun": starts})
		dir, cache := t.TempDir(), t.TempDir()
		staticProbe(t, dir, 0)
		choose := func(want string) Host {
			t.Helper()
			host, _, err := FindHost(ctx, "", dir, cache)
			if err != nil || filepath.Base(host.Runtime) != want {
				t.Fatalf("host %+v, %v", host, err)
			}
			return host
		}
		recheck := func(h Host, want string) {
			t.Helper()
			if answer, err := h.Recheck(ctx); answer != want || err != nil {
				t.Errorf("%q, %v, want %q", answer, err, want)
			}
		}
		tried := choose("runc")
		known := choose("runc")
		recheck(known, "") // a container failed, and not the runtime
		filestest.Write(t, broken, "")
		recheck(tried, "") // that was found out in this run
		if calls() != 2 {
			t.Errorf("%d calls, want 2", calls())
		}
		recheck(choose("runc"), "no cgroups")
		choose("crun")
	})
	t.Run("a container that fails", func(t *testing.T) {
		wrapped(t, map[string]string{"runc": "exec " + found.Runtime + ` "$@"`})
		dir := t.TempDir()
		staticProbe(t, dir, 9)
		host, attempts, err := FindHost(ctx, "", dir, t.TempDir())
		clean(dir)
		if err != nil || host.Isolation != IsolationChroot || len(attempts) != 2 {
			t.Errorf("host %+v, attempts %v, %v", host, attempts, err)
		}
	})
}

func TestParseIsolation(t *testing.T) {
	for s, valid := range map[string]bool{
		"": true, "oci": true, "rootless": true, "chroot": true, "OCI": false, "docker": false, "chroot ": false,
	} {
		got, err := ParseIsolation(s)
		if (err == nil) != valid || valid && string(got) != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
		if err != nil && (got != "" || !strings.Contains(err.Error(), fmt.Sprintf("%q", s))) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

func TestFindRuntimes(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"crun": 0o755, "runc": 0o644} {
		filestest.Write(t, filepath.Join(dir, name), "#!/bin/sh\n")
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	found := FindRuntimes()
	if !slices.Contains(found, filepath.Join(dir, "crun")) || slices.Contains(found, filepath.Join(dir, "runc")) {
		t.Errorf("found %v", found)
	}
	// A runc of this host is found without its directory in PATH, and first.
	for _, file := range found {
		if !filepath.IsAbs(file) {
			t.Errorf("%s is not absolute", file)
		}
	}
	if len(found) == 2 && filepath.Base(found[0]) != "runc" {
		t.Errorf("found %v", found)
	}
}
