package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/kbuild/kbuild/storage"
)

// runPrune has somebody remove images without names all the while, as "podman
// image prune" does.
func runPrune(ctx context.Context, s *soak) error {
	p, err := s.stage(ctx)
	if err != nil {
		return err
	}
	for n := range s.rounds {
		t := s.chosen()[n%len(s.chosen())]
		if err := p.begin(ctx, t, "noatime"); err != nil {
			return err
		}
		stop, err := prune(filepath.Join(p.at, "store"))
		if err != nil {
			return err
		}
		_, err = p.kbuild(ctx, t.args(p)...)
		removed := stop()
		if err != nil {
			err = &fault{"failed", err}
		} else {
			err = p.judge(ctx, t)
		}
		if e := p.disk.unmount(); e != nil {
			return e
		}
		if err := p.verdict(fmt.Sprintf("round %d: %s, %d images removed beside it", n, t.name, removed), err); err != nil {
			return err
		}
		if s.keep && s.faults > 0 || ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// prune removes what has no name and is in use by nobody until it is stopped.
func prune(root string) (stop func() (removed int), err error) {
	store, err := storage.Open(storage.Options{Root: root})
	if err != nil {
		return nil, err
	}
	library := store.Unwrap()
	done := make(chan struct{})
	var wait sync.WaitGroup
	removed := 0
	wait.Add(1)
	go func() {
		defer wait.Done()
		for {
			select {
			case <-done:
				return
			default:
			}
			images, err := library.Images()
			if err != nil {
				continue
			}
			for _, img := range images {
				if len(img.Names) > 0 {
					continue
				}
				// One that a container was made of is refused.
				if _, err := library.DeleteImage(img.ID, true); err == nil {
					removed++
				}
			}
		}
	}()
	return func() int {
		close(done)
		wait.Wait()
		store.Close() //nolint:errcheck // the disk is unmounted next, which says if it is in use
		return removed
	}, nil
}
