// Command kbuild compiles Kubernetes from source inside a container, with no
// daemon and no root.
package main

import (
	"os"

	"github.com/containers/buildah"
	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/container/chroot"
	"github.com/kbuild/kbuild/storage/namespace"
)

func main() {
	if os.Args[0] == container.ProbeName {
		return
	}
	if status, ok := chroot.Main(); ok {
		os.Exit(status)
	}
	namespace.Register(builder.Worker(newReporter))
	if buildah.InitReexec() {
		return
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
