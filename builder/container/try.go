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
func TryAll(ctx context.Context, dir string, patience time.Duration) (list []Attempt, err error) {
	program, forget, err := probe(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, forget()) }()
	began := time.Now()
	own, err := tryIn(ctx, filepath.Join(dir, "own"), program, Host{Isolation: IsolationChroot}, Patience)
	if err != nil {
		return nil, err
	}
	patience = min(max(patience, 10*time.Since(began)), Patience)

	host := Host{Isolation: IsolationOCI}
	if namespace.Rootless() {
		host.Isolation = IsolationRootless
	}
	found := FindRuntimes()
	errs := make([]error, len(found))
	list = make([]Attempt, len(found))
	var all sync.WaitGroup
	for i, runtime := range found {
		all.Add(1)
		go func() {
			defer all.Done()
			h := host
			h.Runtime = runtime
			list[i], errs[i] = tryIn(ctx, filepath.Join(dir, strconv.Itoa(i)), program, h, patience)
		}()
	}
	all.Wait()
	return append(list, own), cmp.Or(ctx.Err(), errors.Join(errs...))
}

// tryIn tries one way, with a new directory for its bundle: all at once could not
// share one.
func tryIn(ctx context.Context, dir, program string, h Host, patience time.Duration) (Attempt, error) {
	h.Dir = dir
	if err := os.Mkdir(dir, 0o700); err != nil {
		return Attempt{}, fmt.Errorf("make an empty container: %w", err)
	}
	attempt := Attempt{Runtime: h.Runtime}
	if err := h.try(ctx, program, patience); err != nil {
		attempt.Answer = err.Error()
	}
	return attempt, nil
}
