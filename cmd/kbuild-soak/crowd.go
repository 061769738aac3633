package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// runCrowd has several users at work at once: in the same tree, in another of the same
// level of trust, and looking at the store or cleaning up.
func runCrowd(ctx context.Context, s *soak) error {
	return s.blows(ctx, func(p *power, t step, _ time.Duration) (string, error) {
		elsewhere := everything(p)
		if t.makes { // a kube-cross of the mirror's would take the name of the one that is made
			elsewhere = t.args(p)
		}
		others := []struct {
			what string
			tree string
			args []string
		}{
			{"the same", p.tree(), t.args(p)},
			{"a build in another tree", p.twin(), elsewhere},
			{"clean in another tree", p.twin(), []string{"clean"}},
			{"prune", p.twin(), []string{"prune"}},
			{"images", p.twin(), []string{"images"}},
		}
		what, failed := "", make(chan error, len(others)+1)
		var wait sync.WaitGroup
		begin := func(tree string, args []string, after time.Duration) {
			wait.Add(1)
			go func() {
				defer wait.Done()
				time.Sleep(after)
				_, err := p.kbuildIn(ctx, tree, args...)
				failed <- err
			}()
		}
		begin(p.tree(), t.args(p), 0)
		for n, i := range p.Perm(len(others))[:3] {
			what += []string{"beside ", ", ", ", "}[n] + others[i].what
			begin(others[i].tree, others[i].args, time.Duration(p.Int63n(int64(p.took[t.name]))))
		}
		wait.Wait()
		close(failed)
		var err error
		for e := range failed {
			err = errors.Join(err, e)
		}
		if err != nil && ctx.Err() == nil {
			err = &fault{"failed", err}
		}
		return what, err
	})
}
