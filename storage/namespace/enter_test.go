package namespace_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage/namespace"
	"golang.org/x/sys/unix"
)

// furtherWork is what the tests in this file have the worker do.
func furtherWork(ctx context.Context, o order, files []*os.File) int {
	switch o.Do {
	case "files":
		// Each file gets its own line.
		for i, f := range files {
			if _, err := fmt.Fprintf(f, "file %d\n", i); err != nil {
				return 1
			}
		}
		return len(files)
	case "groups":
		data, err := os.ReadFile("/proc/self/uid_map")
		if err != nil {
			return 1
		}
		if err := syscall.Setgroups([]int{7, 8}); err != nil {
			fmt.Fprint(files[0], err)
			return 1
		}
		groups, err := os.Getgroups()
		if err != nil {
			return 1
		}
		fmt.Fprint(files[0], strings.Join(strings.Fields(string(data)), " "), " ", groups)
		return 0
	case "directories":
		fmt.Fprintf(files[0], "%s %s", os.Getenv("XDG_CONFIG_HOME"), os.Getenv("XDG_RUNTIME_DIR"))
		return 0
	case "key":
		_, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", "kbuild-test", 0)
		fmt.Fprint(files[0], err)
		return 0
	case "identity":
		fmt.Fprintf(files[0], "%d %d", os.Geteuid(), os.Getegid())
		return 0
	case "processes":
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return 1
		}
		for _, e := range entries {
			if strings.Trim(e.Name(), "0123456789") == "" {
				fmt.Fprintf(files[0], "%s ", e.Name())
			}
		}
		return 0
	case "loopback":
		if err := loopback(files[0]); err != nil {
			fmt.Fprint(files[0], err)
			return 1
		}
		return 0
	case "children":
		// A file of the worker's is not there in what it starts.
		if err := exec.Command("/bin/bash", "-c", "{ : >&3; } 2>/dev/null || { : >&4; } 2>/dev/null").Run(); err == nil {
			return 1
		}
		return 0
	case "family":
		if err := family(files[0]); err != nil {
			fmt.Fprintln(files[0], err)
			return 1
		}
		if o.Text == "leave" {
			return 0
		}
		if o.Text == "obey" {
			<-ctx.Done()
			return 43
		}
		select {}
	}
	return 99
}

// stubborn is a program that no signal but SIGKILL ends, in a session of its
// own and with a child. It says so through its descriptor 3, and keeps that
// open.
const stubborn = `trap '' HUP INT QUIT TERM PIPE
(while :; do sleep 1000; done) &
echo ready >&3
while :; do sleep 1000; done`

// family starts it.
func family(report *os.File) error {
	cmd := exec.Command("setsid", "bash", "-c", stubborn)
	cmd.ExtraFiles = []*os.File{report}
	return cmd.Start()
}

// loopback sends something to itself, and tries to leave.
func loopback(report io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	conn.Close()
	// 192.0.2.0/24 is documentation's, see RFC 5737: without a route the
	// kernel says so at once.
	if conn, err := net.Dial("udp", "192.0.2.1:9"); err == nil {
		conn.Close()
		return errors.New("there is a route out")
	}
	fmt.Fprint(report, "alone")
	return nil
}

func TestWorker(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct {
		name string
		ns   namespace.Options
		do   order
		want int
		text string
	}{
		{"as root", namespace.Options{}, order{Do: "identity"}, 0, "0 0"},
		{"with loopback alone", namespace.Options{Network: true}, order{Do: "loopback"}, 0, "alone"},
		{"without handing files on", namespace.Options{}, order{Do: "children"}, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if status, got := enter(t, ctx, test.ns, test.do); status != test.want || got != test.text {
				t.Errorf("status %d, %q; want %d, %q", status, got, test.want, test.text)
			}
		})
	}
}

// ownProcesses ends the test where the kernel refuses a fresh /proc, as in a
// container that masks a part of its own: there the worker cannot have
// processes for itself.
func ownProcesses(t *testing.T) {
	t.Helper()
	status, got := enter(t, context.Background(), namespace.Options{}, order{Do: "processes"})
	switch {
	case status == 0 && got == "1 ":
	case os.Getenv("CI") != "":
		t.Fatalf("the worker sees other processes: %s", got)
	default:
		t.Skipf("NOT TESTED: the worker sees other processes: %s", got)
	}
}

func TestFiles(t *testing.T) {
	var files []*os.File
	for range 3 {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	status, err := namespace.Enter(context.Background(), namespace.Options{}, order{Do: "files"}, files...)
	if err != nil || status != len(files) {
		t.Fatalf("status %d, %v", status, err)
	}
	for i, f := range files {
		data, err := os.ReadFile(f.Name())
		if want := fmt.Sprintf("file %d\n", i); err != nil || string(data) != want {
			t.Errorf("%q, %v; want %q", data, err, want)
		}
	}
}

// ends fails the test unless every process that holds the other end of a pipe
// is gone, now or soon.
func ends(t *testing.T, r io.Reader) {
	t.Helper()
	over := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, r)
		over <- err
	}()
	select {
	case err := <-over:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second): // only a failing test gets here
		t.Error("something of the worker's still runs")
	}
}

// Whichever way a worker ends, nothing it started outlives it: what ignores
// signals does not, nor what has a session of its own.
func TestNothingIsLeft(t *testing.T) {
	ownProcesses(t)
	for _, test := range []struct {
		name, how string
		cancel    bool
		status    int
		err       string
	}{
		{"after the end", "leave", false, 0, ""},
		{"after a cancellation", "obey", true, 43, ""},
		// This one takes as long as a worker is given to stop by itself.
		{"after being killed for not stopping", "ignore", true, 128 + 9, "killed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			lines := bufio.NewReader(r)
			type outcome struct {
				status int
				err    error
			}
			over := make(chan outcome, 1)
			go func() {
				status, err := namespace.Enter(ctx, namespace.Options{}, order{"family", test.how}, w)
				w.Close()
				over <- outcome{status, err}
			}()
			if line, err := lines.ReadString('\n'); test.how != "leave" && (err != nil || line != "ready\n") {
				t.Fatalf("%q, %v", line, err)
			}
			if test.cancel {
				cancel()
			}
			o := <-over
			if o.status != test.status || (o.err != nil) != (test.err != "") || o.err != nil && !strings.Contains(o.err.Error(), test.err) {
				t.Errorf("status %d, %v; want %d, %q", o.status, o.err, test.status, test.err)
			}
			ends(t, lines)
		})
	}
}

// When the outermost process is killed, the kernel ends everything below it.
func TestNothingIsLeftOfKilled(t *testing.T) {
	if os.Getenv("KBUILD_TEST_FAMILY") != "" {
		namespace.Enter(context.Background(), namespace.Options{}, order{"family", "ignore"}, os.Stdout) //nolint:errcheck // killed
		return
	}
	ownProcesses(t)
	cmd := exec.Command(os.Args[0], "-test.run", "^TestNothingIsLeftOfKilled$")
	cmd.Env = append(os.Environ(), "KBUILD_TEST_FAMILY=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	lines := bufio.NewReader(r)
	if line, err := lines.ReadString('\n'); err != nil || line != "ready\n" {
		t.Errorf("%q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // killed
	ends(t, lines)
}

// A request is any value that encoding/json takes: one that has no end of its
// own, as a number, arrives as well.
func TestRequestWithoutEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if status, err := namespace.Enter(ctx, namespace.Options{}, 7); err != nil || status != 1 || ctx.Err() != nil {
		t.Errorf("status %d, %v, %v; want the 1 of a worker that cannot use a number", status, err, ctx.Err())
	}
	if _, err := namespace.Enter(ctx, namespace.Options{}, func() {}); err == nil || !strings.Contains(err.Error(), "encode the worker's request") {
		t.Errorf("a request that cannot be encoded: %v", err)
	}
}

// A worker that is asked for nothing does nothing, and leaves nothing.
func TestBegin(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	waiting := namespace.Begin(context.Background(), namespace.Options{}, w)
	waiting.Close()
	w.Close()
	ends(t, r)
}
