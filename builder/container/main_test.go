package container

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"testing"

	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/kbuild/kbuild/storage/storagetest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if os.Args[0] == ProbeName {
		return
	}
	// As kbuild's own worker does: Run sends this process a SIGTERM for buildah
	// to take.
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM)
	if err := SetLogging("error", os.Stderr); err != nil {
		panic(err)
	}
	namespace.Register(testWorker)
	storagetest.Main(m)
}

// inWorker is what a test has run in a worker.
type inWorker struct {
	Root  string // of the store
	Image string
	Dir   string
	// Command runs with chroot isolation.
	Command []string
	Network Network
	// Until, if not empty, is the output after which the run is cancelled.
	Until string
}

// testWorker runs a command with chroot isolation and writes what it printed,
// and how it ended, to the file.
func testWorker(ctx context.Context, request json.RawMessage, files []*os.File) int {
	status, err := func() (int, error) {
		var in inWorker
		if err := json.Unmarshal(request, &in); err != nil {
			return 0, err
		}
		store, err := storage.Open(storage.Options{Root: in.Root})
		if err != nil {
			return 0, err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		out := &watcher{to: files[0], until: in.Until, reached: cancel}
		return Run(ctx, store, Options{
			Image: in.Image, Tree: "test", Command: in.Command, Network: in.Network,
			Host: Host{Isolation: IsolationChroot, Dir: in.Dir}, Stdout: out, Stderr: out,
		})
	}()
	fmt.Fprintf(files[0], "status %d, %v\n", status, err)
	return 0
}
