package container

import (
	"context"

	"github.com/kbuild/kbuild/storage/namespace"
)

// TryAll tries every way to run a container here, kbuild's own last: a runtime
// that an Answer of "" stands beside starts one. Nothing is remembered; files
// that live as long as this go to dir.
func TryAll(ctx context.Context, dir string) ([]Attempt, error) {
	host := Host{Isolation: IsolationOCI, Dir: dir}
	if namespace.Rootless() {
		host.Isolation = IsolationRootless
	}
	var list []Attempt
	try := func(h Host) {
		a := Attempt{Runtime: h.Runtime}
		if err := Try(ctx, h); err != nil {
			a.Answer = err.Error()
		}
		list = append(list, a)
	}
	for _, host.Runtime = range FindRuntimes() {
		try(host)
	}
	try(Host{Isolation: IsolationChroot, Dir: dir})
	return list, ctx.Err()
}
