package container

import (
	"os"
	"os/signal"
	"testing"

	"github.com/kbuild/kbuild/builder/container/chroot"
	"github.com/kbuild/kbuild/storage/storagetest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if os.Args[0] == ProbeName {
		return
	}
	if status, ok := chroot.Main(); ok {
		os.Exit(status)
	}
	// As kbuild's own worker does: RunDockerfile sends this process a SIGTERM for
	// buildah to take.
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM)
	if err := SetLogging("error", os.Stderr); err != nil {
		panic(err)
	}
	storagetest.Main(m)
}
