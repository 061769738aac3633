package container

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	containersconf "github.com/containers/common/pkg/config"
	"github.com/kbuild/kbuild/builder/container/containertest"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"github.com/kbuild/kbuild/storage/namespace"
	"golang.org/x/sys/unix"
)

// runIn runs a command in a container of an image and returns what it printed.
func runIn(t *testing.T, ctx context.Context, store *storage.Store, opts Options) (status int, stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	opts.Stdout, opts.Stderr = io.Writer(&out), &errs
	if opts.Tree == "" {
		opts.Tree = "0123456789"
	}
	status, err = Run(ctx, store, opts)
	return status, out.String(), errs.String(), err
}

// TestRun runs commands in the way that this host's containers run.
func TestRun(t *testing.T) {
	store, img := containertest.SmallCross(t)
	host := working(t)
	t.Run(string(host.Isolation), func(t *testing.T) { testRun(t, store, Options{Image: img.ID, Host: host}) })
	if host.Isolation != IsolationChroot {
		chroot := Host{Isolation: IsolationChroot, Dir: t.TempDir()}
		t.Run("chroot", func(t *testing.T) { testRun(t, store, Options{Image: img.ID, Host: chroot}) })
	}
	if list, err := store.Unwrap().Containers(); err != nil || len(list) != 0 {
		t.Errorf("containers left: %v, %v", list, err)
	}
}

func testRun(t *testing.T, store *storage.Store, how Options) {
	ctx := context.Background()
	script := filepath.Join(t.TempDir(), "script")
	filestest.Write(t, script, "#!/bin/bash\nexit 3\n") // not executable
	latin := filepath.Join(t.TempDir(), "caf\xe9")
	filestest.Write(t, filepath.Join(latin, "file\xe4"), "x")

	for _, test := range []struct {
		name           string
		command        []string
		env            []string
		stdin          string
		mounts         []Mount
		want           int
		stdout, stderr string // what has to be there
	}{
		{name: "true", command: []string{"true"}},
		{name: "a status", command: []string{"bash", "-c", "exit 3"}, want: 3},
		{name: "a high status", command: []string{"bash", "-c", "exit 255"}, want: 255},
		{name: "no such command", command: []string{"no-such-command"}, want: 127, stderr: "no-such-command"},
		{name: "no such path", command: []string{"hack/build-go.sh"}, want: 127, stderr: "hack/build-go.sh"},
		{name: "not executable", command: []string{"/script"}, mounts: []Mount{{script, "/script", true}}, want: 126, stderr: "/script"},
		{name: "a directory", command: []string{"/usr"}, want: 126},
		{name: "SIGTERM", command: []string{"bash", "-c", "kill -TERM $$"}, want: 128 + 15},
		{name: "SIGKILL", command: []string{"bash", "-c", "kill -KILL $$"}, want: 128 + 9},
		{name: "SIGSEGV", command: []string{"bash", "-c", "kill -SEGV $$"}, want: 128 + 11},
		{
			name: "arguments as they are", command: []string{"printf", "<%s>", "a b", "", "$HOME", "*", "'", "\\", "x\ny"},
			stdout: "<a b><><$HOME><*><'><\\><x\ny>",
		},
		{name: "bytes", command: []string{"printf", "<%s>", "a\xe4b", "\xff'\n\\"}, stdout: "<a\xe4b><\xff'\n\\>"},
		{
			name: "bytes in the environment", env: []string{"A=\xe4", "A=1", "B=2", "B=\xe4'", "GOPATH=\xff"},
			command: []string{"bash", "-c", `printf %s "$A,$B,$GOPATH,$1"`, "", "\xe4"}, stdout: "1,\xe4',\xff,\xe4",
		},
		{
			name: "bytes of a mount", command: []string{"cat", "/mnt/file\xe4"}, mounts: []Mount{{latin, "/mnt", true}}, stdout: "x",
		},
		{
			name: "environment", env: []string{"KUBE_FASTBUILD=true", "EMPTY=", "ODD=a b=c\"$x"},
			command: []string{"bash", "-c", `echo "$KUBE_FASTBUILD,${EMPTY-unset},$ODD,$GOPATH,${HOST_SECRET-unset}"`},
			stdout:  "true,,a b=c\"$x,/go,unset\n",
		},
		{name: "over the image's", env: []string{"GOPATH=/mine"}, command: []string{"bash", "-c", "echo $GOPATH"}, stdout: "/mine\n"},
		{name: "working directory", command: []string{"pwd"}, stdout: "/go\n"},
		{name: "host name", command: []string{"uname", "-n"}, stdout: "kube-build\n"},
		{name: "user", command: []string{"id", "-u"}, stdout: "0\n"},
		{name: "standard input", command: []string{"cat"}, stdin: "some\ninput", stdout: "some\ninput"},
		{name: "both outputs", command: []string{"bash", "-c", "echo out; echo err >&2"}, stdout: "out\n", stderr: "err\n"},
		{
			name: "nothing of the host", command: []string{"bash", "-c", "test ! -e /proc/1/root" + script + " && test ! -e " + script + " && echo none"},
			stdout: "none\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("HOST_SECRET", "secret")
			opts := how
			opts.Command, opts.Environment, opts.Mounts, opts.Stdin = test.command, test.env, test.mounts, strings.NewReader(test.stdin)
			status, stdout, stderr, err := runIn(t, ctx, store, opts)
			if err != nil || status != test.want {
				t.Errorf("status %d, %v; want %d", status, err, test.want)
			}
			if stdout != test.stdout || !strings.Contains(stderr, test.stderr) {
				t.Errorf("printed %q and %q, want %q and %q", stdout, stderr, test.stdout, test.stderr)
			}
			if test.want == 0 && test.stderr == "" && stderr != "" {
				t.Errorf("printed %q", stderr)
			}
		})
	}
	t.Run("mounts", func(t *testing.T) { testMounts(t, store, how) })
	t.Run("changes do not last", func(t *testing.T) {
		opts := how
		for range 2 {
			opts.Command = []string{"bash", "-c", "test ! -e /etc/mine && echo x >/etc/mine && test -e /etc/mine"}
			if status, _, stderr, err := runIn(t, ctx, store, opts); status != 0 || err != nil {
				t.Errorf("status %d, %v: %s", status, err, stderr)
			}
		}
	})
	t.Run("cancelled", func(t *testing.T) { testCancel(t, store, how) })
	t.Run("cancelled before", func(t *testing.T) {
		opts := how
		opts.Command = []string{"true"}
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if _, _, _, err := runIn(t, ctx, store, opts); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no such image", func(t *testing.T) {
		opts := how
		opts.Image, opts.Command = strings.Repeat("0", 64), []string{"true"}
		if _, _, _, err := runIn(t, ctx, store, opts); err == nil || !strings.Contains(err.Error(), "create a container of image 0000") {
			t.Errorf("error %v", err)
		}
	})
}

func testMounts(t *testing.T, store *storage.Store, how Options) {
	dir := t.TempDir()
	for _, p := range []string{"rw/below/there", "ro/below/there", "single"} {
		filestest.Write(t, filepath.Join(dir, p), p)
	}
	opts := how
	opts.Mounts = []Mount{
		{Host: filepath.Join(dir, "rw"), Container: "/go/src/deep/rw"},
		{Host: filepath.Join(dir, "ro"), Container: "/go/src/deep/ro", ReadOnly: true},
		{Host: filepath.Join(dir, "single"), Container: "/etc/localtime", ReadOnly: true},
	}
	opts.Command = []string{"bash", "-c", `cat /go/src/deep/{rw,ro}/below/there /etc/localtime; echo
		echo new >/go/src/deep/rw/below/new && echo written
		(echo new >/go/src/deep/ro/below/new) 2>/dev/null || echo refused
		(echo new >/etc/localtime) 2>/dev/null || echo refused
		mount -o remount,rw /go/src/deep/ro 2>/dev/null; rm /go/src/deep/ro/below/there 2>/dev/null || echo refused`}
	status, stdout, stderr, err := runIn(t, context.Background(), store, opts)
	if want := "rw/below/therero/below/theresingle\nwritten\nrefused\nrefused\nrefused\n"; err != nil || status != 0 || stdout != want {
		t.Errorf("status %d, %v: %q, want %q; %s", status, err, stdout, want, stderr)
	}
	held, _ := filestest.Read(t, dir)
	if len(held) != 4 || held["rw/below/new"] != "new\n" || held["single"] != "single" {
		t.Errorf("on the host: %q", held)
	}
	// What the container's root made is this process's own.
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "rw/below/new"), &st); err != nil || int(st.Uid) != os.Getuid() {
		t.Errorf("belongs to %d, %v", st.Uid, err)
	}
}

// testCancel ends a command that has a child and ignores what it can.
func testCancel(t *testing.T, store *storage.Store, how Options) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opts := how
	var output bytes.Buffer
	out := &watcher{to: &output, until: "ready", reached: cancel}
	opts.Tree, opts.Stdout, opts.Stderr = "0123456789", out, out
	opts.Command = []string{"bash", "-c", "trap '' INT HUP TERM; sleep 1000 & echo ready; while :; do sleep 1000; done"}
	if status, err := Run(ctx, store, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("status %d, error %v, printed %q", status, err, output.String())
	}
}

// ways are those in which a container can be run here.
func ways(t *testing.T) []Host {
	t.Helper()
	list := []Host{{Isolation: IsolationChroot, Dir: t.TempDir()}}
	if host := working(t); host.Isolation != IsolationChroot {
		list = append(list, host)
	}
	return list
}

// Without network a container has loopback and nothing else.
func TestRunAlone(t *testing.T) {
	store, img := containertest.SmallCross(t)
	// /proc/net/route has a line for its header, /proc/net/dev two.
	look := []string{"bash", "-c", `wc -l </proc/net/route; tail -n +3 /proc/net/dev | wc -l; cat /etc/hosts
		(echo >/dev/udp/192.0.2.1/9) 2>/dev/null && echo "a way out" || echo none`}
	want := "1\n1\n127.0.0.1 localhost\n::1 localhost\n127.0.1.1 kube-build\nnone\n"
	for _, host := range ways(t) {
		status, stdout, stderr, err := runIn(t, context.Background(), store, Options{Image: img.ID, Host: host, Command: look, Network: NetworkNone})
		if err != nil || status != 0 || stdout != want {
			t.Errorf("%s: status %d, %v: %q, want %q; %s", host.Isolation, status, err, stdout, want, stderr)
		}
	}
}

// A container's root has podman's capabilities and no others, no key of the
// user's, no descriptor but its own, and cannot write to the host's cgroups.
func TestRunConfined(t *testing.T) {
	store, img := containertest.SmallCross(t)
	held, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := unix.FcntlInt(held.Fd(), unix.F_SETFD, 0); err != nil { // as it is inherited from a script
		t.Fatal(err)
	}
	if err := namespace.CloseOnExec(3); err != nil { // as every process of kbuild's does first
		t.Fatal(err)
	}
	caps, err := capabilities()
	if err != nil || len(caps) != len(containersconf.DefaultCapabilities) {
		t.Fatalf("this process has %q of the default capabilities (%v)", caps, err)
	}
	look := []string{"bash", "-c", `while read -r name value; do case $name in Cap*|Seccomp:) echo -n "$name$value ";; esac; done </proc/self/status
		for fd in /proc/self/fd/*; do echo -n "${fd##*/} "; done # the last is this one's
		cd /tmp; e=0; echo hi >f; chmod 0 f; cat f >/dev/null || e=1; tar --owner=9 --group=9 -cf t.tar f && mkdir t && tar -C t -xf t.tar || e=1; echo -n "$e "
		for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/cgroup.procs /proc/sys/kernel/core_pattern; do if test -e $f && (: >>$f) 2>/dev/null; then echo -n "$f "; fi; done`}
	const mask = "00000000800405fb"
	want := "CapInh:0000000000000000 CapPrm:" + mask + " CapEff:" + mask + " CapBnd:" + mask + " CapAmb:0000000000000000 Seccomp:2 0 1 2 3 "
	for _, host := range ways(t) {
		for _, network := range []Network{NetworkNone, NetworkHost} {
			status, stdout, stderr, err := runIn(t, context.Background(), store, Options{Image: img.ID, Host: host, Command: look, Network: network})
			rest, found := strings.CutPrefix(stdout, want)
			if err != nil || status != 0 || !found {
				t.Errorf("%s, network %s: status %d, %v: %q, want %q; %s", host.Isolation, network, status, err, stdout, want, stderr)
			}
			if wantRest := "0 "; found && rest != wantRest && !oneID(t) {
				t.Errorf("%s, network %s: %q, want %q; %s", host.Isolation, network, rest, wantRest, stderr)
			}
		}
	}
}

// oneID says whether only one user id exists here.
func oneID(t *testing.T) bool {
	t.Helper()
	single, err := namespace.SingleID()
	if err != nil {
		t.Fatal(err)
	}
	return single
}

// With the host's network a container sees what this process sees.
func TestRunWithNetwork(t *testing.T) {
	store, img := containertest.SmallCross(t)
	opts := Options{Image: img.ID, Host: working(t), Network: NetworkHost, Command: []string{"readlink", "/proc/self/ns/net"}}
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if status, stdout, stderr, err := runIn(t, context.Background(), store, opts); err != nil || status != 0 || stdout != here+"\n" {
		t.Errorf("status %d, %v: %q, want %q; %s", status, err, stdout, here, stderr)
	}
	opts.Network = NetworkNone
	if status, stdout, _, err := runIn(t, context.Background(), store, opts); err != nil || status != 0 || stdout == here+"\n" {
		t.Errorf("without: status %d, %v: %q", status, err, stdout)
	}
}

// A container that a killed run left, mounted, goes; other people's stay.
func TestRemoveLeftovers(t *testing.T) {
	store, img := containertest.SmallCross(t)
	s := store.Unwrap()
	for _, name := range []string{"kbuild-0123456789", "kube-cross-working-container-kbuild-0123456789", "kbuild-other", "podman-build"} {
		c, err := s.CreateContainer("", []string{name}, img.ID, "", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Mount(c.ID, ""); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := RemoveLeftovers(store, "0123456789"); err != nil {
			t.Fatal(err)
		}
		list, err := s.Containers()
		if err != nil {
			t.Fatal(err)
		}
		left := map[string]bool{}
		for _, c := range list {
			left[strings.Join(c.Names, " ")] = true
		}
		if len(left) != 2 || !left["kbuild-other"] || !left["podman-build"] {
			t.Errorf("left are %v", left)
		}
	}
	for _, tree := range []string{"other", "x"} {
		if err := RemoveLeftovers(store, tree); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.Containers(); err != nil || len(list) != 1 {
		t.Errorf("left are %v, %v", list, err)
	}
	if err := s.DeleteContainer("podman-build"); err != nil {
		t.Error(err)
	}
}

func TestParseNetwork(t *testing.T) {
	for s, want := range map[string]Network{"": NetworkNone, "none": NetworkNone, "host": NetworkHost, "bridge": "", "None": "", "host\n": ""} {
		got, err := ParseNetwork(s)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", s, got, err, want)
		}
	}
}

func TestCommandStatus(t *testing.T) {
	for text, want := range map[string]int{
		"0\n": 0, "127\n": 127, "": -1, "x\n": -1, "0\n1\n": -1, "256\n": -1, "-1\n": -1, "\x1b[1m": -1,
	} {
		got, err := commandStatus([]byte(text))
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}
