package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
)

const (
	killedVariable = "KBUILD_TEST_KILLED" // the store's directory
	killedSource   = "KBUILD_TEST_KILLED_FROM"
	killedLooking  = "KBUILD_TEST_KILLED_LOOKING" // made when the image is looked into
)

// TestKilled is the part of TestPullKilled that is killed.
func TestKilled(t *testing.T) {
	root := os.Getenv(killedVariable)
	if root == "" {
		return // this is not the process to be killed
	}
	store, err := storage.Open(storage.Options{Root: root, Driver: "vfs"})
	if err != nil {
		t.Fatal(err)
	}
	opts := options(t)
	opts.Accept = func(ctx context.Context, _ storage.Image) error {
		if err := os.WriteFile(os.Getenv(killedLooking), nil, 0o600); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	_, _, err = mirror.Pull(t.Context(), store, named(t, wanted), sources(t, os.Getenv(killedSource)), opts)
	t.Fatalf("not killed: %v", err)
}

// pulling is a process that pulls into a store, with a TMPDIR of its own.
type pulling struct {
	cmd    *exec.Cmd
	output bytes.Buffer
	tmp    string
	ended  chan struct{}
}

func pullElsewhere(t *testing.T, store *storage.Store, from, looking string) *pulling {
	t.Helper()
	p := &pulling{tmp: t.TempDir(), ended: make(chan struct{})}
	p.cmd = exec.Command("/proc/self/exe", "-test.run", "^TestKilled$")
	p.cmd.Env = append(os.Environ(), killedVariable+"="+filepath.Dir(store.Root()), killedSource+"="+from,
		killedLooking+"="+looking, "TMPDIR="+p.tmp)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	// A group of its own, to be killed with what it started, as kbuild is with
	// its PID namespace.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.cmd.Wait() //nolint:errcheck // how it ended is looked at below
	}()
	t.Cleanup(p.kill)
	return p
}

// kill kills it unless it has ended, and waits until nothing is left of it: the
// output ends with the last process that has it.
func (p *pulling) kill() {
	select {
	case <-p.ended:
		return
	default:
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // it may just have ended
	<-p.ended
}

// incoming are the directories of what is on its way.
func (p *pulling) incoming(t *testing.T) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(p.tmp, "kbuild-incoming-*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// A process that is killed while it pulls has no chance to tidy up: the next
// one does, and goes on from what the killed one has got.
func TestPullKilled(t *testing.T) {
	right, blobs := bigImage(t, 2)
	half := len(blobs[1].content) / 2
	for _, test := range []struct {
		name  string
		how   answerTo
		whole bool // the image has arrived and is looked into
		least int  // bytes of the second layer that are sent again
		most  int
	}{
		{name: "in the middle of a blob", least: 1, most: len(blobs[1].content) - half + 8192},
		{name: "in the middle of a blob, ranges are refused", how: rangeRefused, least: len(blobs[1].content),
			most: len(blobs[1].content)},
		// Should the library not come to the rest in time, it is sent twice.
		{name: "in the middle of a blob, ranges are ignored", how: rangeIgnored, least: len(blobs[1].content),
			most: 2 * len(blobs[1].content)},
		{name: "before the image has its name", whole: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t)
			g.push(t, repo+":"+wantTag, right)
			from := g.Host() + "/" + repo
			// It is open all the time, as another program's on the same store.
			store := storagetest.Open(t)
			looking := filepath.Join(t.TempDir(), "looking")
			ready := make(chan struct{})
			if !test.whole {
				g.stopHalfway(t, store, blobs, half, func() { close(ready) })
			}
			p := pullElsewhere(t, store, from, looking)
			if test.whole {
				go whenThere(t, looking, func() { close(ready) })
			}
			select {
			case <-ready:
			case <-p.ended:
				t.Fatalf("the process ended before it was killed:\n%s", &p.output)
			}
			p.kill()
			if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
				t.Fatalf("the process ended with %v:\n%s", p.cmd.ProcessState, &p.output)
			}
			// Else there would be nothing to tidy up.
			if len(p.incoming(t)) == 0 {
				t.Error("the killed process left no directory")
			}
			if _, err := store.Lookup(named(t, wanted)); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("after the kill, the name: %v", err)
			}
			if s := state(t, store); strings.Contains(s, "localhost/kbuild/incoming") != test.whole {
				t.Errorf("after the kill the store holds\n%s", s)
			}

			f := [2]*faulty{{}, {}}
			g.serveBlobs(blobs, f, test.how)
			var said lines
			opts := options(t)
			opts.Log = said.log
			got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, from), opts)
			if err != nil || got.ID != id(t, right) || !slices.Equal(got.Names, []string{wanted}) {
				t.Fatalf("got %v, %v; said:\n%s", got, err, &said)
			}
			if !test.whole {
				if f[0].sent != 0 {
					t.Errorf("the layer that was complete was sent again: %d bytes", f[0].sent)
				}
				if f[1].ranges == 0 {
					t.Error("the server was not asked for the rest of the blob")
				}
				if f[1].sent < test.least || f[1].sent > test.most {
					t.Errorf("%d bytes of the other were sent again, of %d", f[1].sent, len(blobs[1].content))
				}
				if test.how == rangeRefused && !strings.Contains(said.String(), "starting it again") {
					t.Errorf("said:\n%s", &said)
				}
			}
			// What was put together is the image, byte for byte.
			if err := store.Mount(got.ID, func(dir string) error {
				for n := range blobs {
					content, err := os.ReadFile(filepath.Join(dir, string(rune('0'+n))))
					if err == nil && string(content) != noise(int64(n), 300<<10) {
						err = errors.New("a file has other content")
					}
					if err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			clean(t, store)
			unkept(t, store)
			if left := p.incoming(t); len(left) > 0 {
				t.Errorf("left in the killed process's TMPDIR: %v", left)
			}
			if n := layersIn(t, store); n != 2 {
				t.Errorf("the store has %d layers", n)
			}
		})
	}
}

// whenThere waits for a file.
func whenThere(t *testing.T, file string, then func()) {
	for t.Context().Err() == nil {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			then()
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
