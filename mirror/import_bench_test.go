package mirror_test

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"github.com/kbuild/kbuild/storage"
)

// BenchmarkImport brings an image of KBUILD_BENCH_MB megabytes (1024, before
// compression) from a registry on loopback into a new overlay store, and has
// skopeo copy the same image into the same kind of store, in turns. It reports
// seconds of each, kbuild's time over skopeo's, and kbuild's memory in MB.
func BenchmarkImport(b *testing.B) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		b.Skip("skopeo is not installed: nothing to compare with")
	}
	size := 1024
	if s := os.Getenv("KBUILD_BENCH_MB"); s != "" {
		var err error
		if size, err = strconv.Atoi(s); err != nil {
			b.Fatalf("KBUILD_BENCH_MB: %v", err)
		}
	}
	g, err := mirrortest.Serve()
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	if err := g.Push("kube-cross:v1", synthetic(b, size)); err != nil {
		b.Fatal(err)
	}
	source := g.Host() + "/kube-cross:v1"
	var ours, theirs time.Duration
	var memory int64
	for b.Loop() {
		dir := b.TempDir()
		run := func(env []string, name string, args ...string) (time.Duration, int64) {
			cmd := exec.Command(name, args...)
			cmd.Env = append(os.Environ(), env...)
			start := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%s: %v\n%s", name, err, out)
			}
			return time.Since(start), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
		}
		took, used := run([]string{benchVariable + "=" + filepath.Join(dir, "kbuild"), benchSource + "=" + source},
			"/proc/self/exe", "-test.run", "^TestImport$")
		ours, memory = ours+took, max(memory, used)
		took, _ = run(nil, "skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+source,
			fmt.Sprintf("containers-storage:[overlay@%s+%s]gcr.io/x:v1", filepath.Join(dir, "skopeo"),
				filepath.Join(dir, "run")))
		theirs += took
		// Each leaves its driver's directory mounted on itself, as root.
		for _, store := range []string{"kbuild", "skopeo"} {
			unix.Unmount(filepath.Join(dir, store, "overlay"), unix.MNT_DETACH) //nolint:errcheck // it need not be
		}
	}
	b.ReportMetric(ours.Seconds()/float64(b.N), "kbuild-s")
	b.ReportMetric(theirs.Seconds()/float64(b.N), "skopeo-s")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
	b.ReportMetric(float64(memory), "kbuild-MB")
}

const (
	benchVariable = "KBUILD_TEST_IMPORT" // the store's directory
	benchSource   = "KBUILD_TEST_IMPORT_FROM"
)

// TestImport is the part of BenchmarkImport whose time and memory count.
func TestImport(t *testing.T) {
	root := os.Getenv(benchVariable)
	if root == "" {
		return // this is not the benchmark
	}
	store, err := storage.Open(storage.Options{Root: root, Driver: "overlay"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := mirror.Pull(t.Context(), store, named(t, "gcr.io/x:v1"), sources(t, os.Getenv(benchSource)),
		options(t)); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// synthetic is an image of one layer of files that compress as sources and
// binaries do, to a third.
func synthetic(b *testing.B, megabytes int) v1.Image {
	b.Helper()
	file, err := os.Create(filepath.Join(b.TempDir(), "layer.tar.gz"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	buffered := bufio.NewWriterSize(file, 1<<20)
	compressed, err := gzip.NewWriterLevel(buffered, gzip.BestSpeed)
	if err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewSource(1))
	words := make([][]byte, 4096)
	for i := range words {
		words[i] = make([]byte, 3+random.Intn(9))
		random.Read(words[i]) //nolint:errcheck // it never fails
	}
	archive := tar.NewWriter(compressed)
	content := make([]byte, 0, 256<<10)
	for left, n := megabytes<<20, 0; left > 0; n++ {
		length := min(left, 4<<10+random.Intn(250<<10))
		for content = content[:0]; len(content) < length; {
			content = append(content, words[int(random.ExpFloat64()*400)%len(words)]...)
		}
		header := &tar.Header{Name: fmt.Sprintf("d%03d/f%d", n%500, n), Mode: 0o644, Size: int64(length),
			Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			b.Fatal(err)
		}
		if _, err := archive.Write(content[:length]); err != nil {
			b.Fatal(err)
		}
		left -= length
	}
	if err := archive.Close(); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(compressed.Close(), buffered.Flush()); err != nil {
		b.Fatal(err)
	}
	l, err := tarball.LayerFromFile(file.Name())
	if err != nil {
		b.Fatal(err)
	}
	config, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH,
		RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		b.Fatal(err)
	}
	i, err := mutate.AppendLayers(config, l)
	if err != nil {
		b.Fatal(err)
	}
	return i
}
