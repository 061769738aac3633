package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// caches is the part in which machines share what they compile, and something happens
// to one of them. Whatever that is, programs are those of a build from nothing, and
// what was written before can be read.
type caches struct {
	*soak
	dir            string
	writer, reader place // with a tree, a store and what is kept of each its own
	edited         map[string]bool
	want           map[bool][]byte // kubelet, by whether a source is changed
	reading        time.Duration   // that a build takes which reads
	pushing        time.Duration   // that a build takes which writes
	size           int64           // of a cache
}

// ways are what happens, each as often as it stands here.
var ways = []func(context.Context, *caches, string) (string, error){
	killReading, killPushing, killReading, killPushing, killReading, killPushing, writeTogether, fillCache,
}

func runCache(ctx context.Context, s *soak) error {
	c, err := newCaches(ctx, s)
	if err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	for n := range s.rounds {
		at := []string{
			"oci:" + filepath.Join(c.dir, fmt.Sprint("round-", n)), "dir:" + filepath.Join(c.dir, fmt.Sprint("round-", n)),
			fmt.Sprintf("%s/team/round-%d", s.registry.Host(), n),
		}[n/len(ways)%3]
		what, err := ways[n%len(ways)](ctx, c, at)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var wrong *fault
		if err != nil && !errors.As(err, &wrong) {
			return err
		}
		outcome, text := "right", fmt.Sprintf("round %d: %s, %s", n, what, at)
		if wrong != nil {
			outcome, text = wrong.kind, text+": "+wrong.Error()
		}
		s.tell(wrong != nil, outcome, "%s", text)
		if s.keep && s.faults > 0 {
			return nil
		}
		if err := os.RemoveAll(filepath.Join(c.dir, fmt.Sprint("round-", n))); err != nil {
			return err
		}
	}
	return nil
}

// newCaches makes the two machines, builds from nothing and measures.
func newCaches(ctx context.Context, s *soak) (*caches, error) {
	c := &caches{soak: s, dir: filepath.Join(s.dir, "caches"), edited: map[string]bool{}, want: map[bool][]byte{}}
	c.writer, c.reader = place{s, filepath.Join(c.dir, "writer")}, place{s, filepath.Join(c.dir, "reader")}
	for _, p := range []place{c.writer, c.reader} {
		if err := os.MkdirAll(p.dir, 0o755); err != nil {
			return nil, err
		}
		if err := p.make(ctx); err != nil {
			return nil, err
		}
		if _, err := p.kbuild(ctx, "mirror", "--mirror", s.mirror()); err != nil {
			return nil, err
		}
	}
	honest := filepath.Join(c.dir, "honest")
	for _, edit := range []bool{true, false} {
		if err := c.set(c.writer, edit); err != nil {
			return nil, err
		}
		start := time.Now()
		if _, err := c.writer.kbuild(ctx, "--cache-to", "oci:"+honest, "cmd/kubelet"); err != nil {
			return nil, err
		}
		c.pushing = time.Since(start)
		var err error
		if c.want[edit], err = os.ReadFile(c.writer.kubelet()); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	if err := c.reads(ctx, "oci:"+honest, false, true); err != nil {
		return nil, err
	}
	c.reading = time.Since(start)
	err := filepath.Walk(honest, func(_ string, info os.FileInfo, err error) error {
		if err == nil {
			c.size += info.Size()
		}
		return err
	})
	return c, err
}

// set changes a source, or takes that back.
func (c *caches) set(p place, edit bool) error {
	if edit == c.edited[p.dir] {
		return nil
	}
	c.edited[p.dir] = edit
	return p.edit(p.tree(), edit)
}

// fresh makes the reader a machine on which nothing is kept but images.
func (c *caches) fresh() error {
	return errors.Join(os.RemoveAll(filepath.Join(c.reader.dir, "store", "kbuild", "trees")),
		os.RemoveAll(filepath.Join(c.reader.tree(), "_output")))
}

// reads has a fresh machine build. must says that it has to begin with the cache.
func (c *caches) reads(ctx context.Context, at string, edit, must bool) error {
	if err := errors.Join(c.fresh(), c.set(c.reader, edit)); err != nil {
		return err
	}
	said, err := c.reader.kbuild(ctx, "--cache-from", at, "cmd/kubelet")
	if err != nil {
		return &fault{"failed", err}
	}
	if must && !strings.Contains(said, "objects read from") || strings.Contains(said, "not what its table says") {
		return &fault{"lost", fmt.Errorf("the cache was not read:\n%s", indent(said))}
	}
	return c.right(c.reader, edit)
}

// writes has the writer build, which has to succeed.
func (c *caches) writes(ctx context.Context, at string, edit bool) error {
	if err := c.set(c.writer, edit); err != nil {
		return err
	}
	if _, err := c.writer.kbuild(ctx, "--cache-to", at, "cmd/kubelet"); err != nil {
		return &fault{"failed", err}
	}
	return c.right(c.writer, edit)
}

func (c *caches) right(p place, edit bool) error {
	program, err := os.ReadFile(p.kubelet())
	if err == nil && !bytes.Equal(program, c.want[edit]) {
		err = &fault{"wrong", errors.New("kubelet is not that of a build from nothing")}
	}
	return err
}

// kill runs kbuild and kills it.
func (c *caches) kill(p place, moment time.Duration, args ...string) error {
	var said bytes.Buffer
	cmd := p.command(args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
		return nil
	case <-time.After(moment):
	}
	cmd.Process.Kill() //nolint:errcheck // it may have ended
	return await(cmd, ended, &said)
}

// killReading kills one that reads; then the same machine reads, or has what it had
// read by then, and a fresh one reads.
func killReading(ctx context.Context, c *caches, at string) (string, error) {
	edit, moment := c.Intn(2) == 0, time.Duration(c.Int63n(int64(c.reading)))
	what := fmt.Sprintf("killed %.2f s into reading", moment.Seconds())
	if err := c.writes(ctx, at, false); err != nil {
		return what, err
	}
	if err := errors.Join(c.fresh(), c.set(c.reader, edit)); err != nil {
		return what, err
	}
	if err := c.kill(c.reader, moment, "--cache-from", at, "cmd/kubelet"); err != nil {
		return what, err
	}
	if _, err := c.reader.kbuild(ctx, "--cache-from", at, "cmd/kubelet"); err != nil {
		return what, &fault{"failed", err}
	}
	if err := c.right(c.reader, edit); err != nil {
		return what, err
	}
	return what, c.reads(ctx, at, edit, true)
}

// killPushing kills one that writes what is new; what was there before can be read, and
// what it writes the next time.
func killPushing(ctx context.Context, c *caches, at string) (string, error) {
	moment := c.pushing/4 + time.Duration(c.Int63n(int64(c.pushing)))
	what := fmt.Sprintf("killed %.2f s into pushing", moment.Seconds())
	before := c.Intn(2) == 0
	if before {
		what += " over another"
		if err := c.writes(ctx, at, false); err != nil {
			return what, err
		}
	}
	if err := c.set(c.writer, true); err != nil {
		return what, err
	}
	if err := c.kill(c.writer, moment, "--cache-to", at, "cmd/kubelet"); err != nil {
		return what, err
	}
	if err := c.reads(ctx, at, true, before); err != nil {
		return what, err
	}
	if err := c.writes(ctx, at, true); err != nil {
		return what, err
	}
	return what, c.reads(ctx, at, true, true)
}

// writeTogether has two write at once. In a directory nothing of either is lost; with a
// Go that judges by times, and in a registry in the very same moment, one stays.
func writeTogether(ctx context.Context, c *caches, at string) (string, error) {
	const what = "two write at once"
	if err := c.writes(ctx, at, false); err != nil {
		return what, err
	}
	if err := errors.Join(c.set(c.writer, true), c.set(c.reader, true)); err != nil {
		return what, err
	}
	var wait sync.WaitGroup
	failed := make([]error, 2)
	for i, run := range []func() (string, error){
		func() (string, error) { return c.writer.kbuild(ctx, "--cache-to", at, "cmd/kubelet") },
		func() (string, error) {
			return c.reader.kbuild(ctx, "--cache-from", at, "--cache-to", at, "cmd/kubectl")
		},
	} {
		wait.Go(func() {
			said, err := run()
			if err == nil && strings.Contains(said, "nothing is written") {
				err = errors.New(said)
			}
			failed[i] = err
		})
	}
	wait.Wait()
	if err := errors.Join(failed...); err != nil {
		return what, &fault{"failed", err}
	}
	list, err := c.writer.kbuild(ctx, "cache", "ls", "--format", "json", at)
	if err != nil {
		return what, &fault{"failed", err}
	}
	both := strings.Contains(list, `"kubelet"`) && strings.Contains(list, `"kubectl"`)
	if !c.old && strings.Contains(at, ":/") && !both {
		return what, &fault{"lost", fmt.Errorf("what one wrote is not there:\n%s", indent(list))}
	}
	return what, c.reads(ctx, at, true, true)
}

// fillCache has the disk of a directory become full while it is written; then there is
// room, and it is written again.
func fillCache(ctx context.Context, c *caches, _ string) (what string, err error) {
	dir, room := filepath.Join(c.dir, "small"), c.Int63n(c.size)
	what = fmt.Sprintf("room for %d of %d KB", room>>10, c.size>>10)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return what, err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("mode=0755,size=%d", max(room, 4096))); err != nil {
		return what, err
	}
	defer func() { err = errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH)) }()
	at := []string{"oci:", "dir:"}[c.Intn(2)] + filepath.Join(dir, "cache")
	if err := c.writes(ctx, at, true); err != nil {
		return what, err
	}
	if err := c.reads(ctx, at, true, false); err != nil {
		return what, err
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", 4*c.size)); err != nil {
		return what, err
	}
	if err := c.writes(ctx, at, true); err != nil {
		return what, err
	}
	return what, c.reads(ctx, at, true, true)
}
