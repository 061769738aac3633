package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/kbuild/kbuild/storage/namespace"
)

// TryAll tries every way to run a container here: a runtime that an Answer of ""
// stands beside starts one; kbuild's own is the last of the list. Each has so
// long for it, or where everything takes its time ten times as long as kbuild's
// own needed, which cannot hang; a build has more patience. Nothing is
// remembered; files that live as long as this go to dir.
func TryAll(ctx context.Context, dir string, patience time.Duration) ([]Attempt, error) {
	if err := copyProbe(dir); err != nil {
		return nil, err
	}
	began := time.Now()
	own, err := tryIn(ctx, filepath.Join(dir, "own"), Host{Isolation: IsolationChroot}, Patience)
	if err != nil {
		return nil, err
	}
	patience = min(max(patience, 10*time.Since(began)), Patience)

	host := Host{Isolation: IsolationOCI}
	if namespace.Rootless() {
		host.Isolation = IsolationRootless
	}
	found := FindRuntimes()
	list, errs := make([]Attempt, len(found)), make([]error, len(found))
	var all sync.WaitGroup
	for i, runtime := range found {
		all.Add(1)
		go func() {
			defer all.Done()
			h := host
			h.Runtime = runtime
			list[i], errs[i] = tryIn(ctx, filepath.Join(dir, strconv.Itoa(i)), h, patience)
		}()
	}
	all.Wait()
	return append(list, own), cmp.Or(ctx.Err(), errors.Join(errs...))
}

// tryIn tries one way, with a new directory for its bundle: all at once could not
// share one. The directory above it has the program that is started.
func tryIn(ctx context.Context, dir string, h Host, patience time.Duration) (Attempt, error) {
	h.Dir = dir
	if err := os.Mkdir(dir, 0o700); err != nil {
		return Attempt{}, fmt.Errorf("make an empty container: %w", err)
	}
	if err := os.Link(probeIn(filepath.Dir(dir)), probeIn(dir)); err != nil {
		return Attempt{}, fmt.Errorf("copy this program: %w", err)
	}
	attempt := Attempt{Runtime: h.Runtime}
	if err := Try(ctx, h, patience); err != nil {
		attempt.Answer = err.Error()
	}
	return attempt, nil
}
