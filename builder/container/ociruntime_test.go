package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/storage/files/filestest"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestLastError(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if got := lastError(log); got != "" {
		t.Errorf("no log says %q", got)
	}
	for text, want := range map[string]string{
		"":              "",
		"no json\n{}\n": "",
		`{"level":"warning","msg":"slow"}` + "\n":                                               "",
		`{"level":"error","msg":"runc run failed: exec: \"/x\": permission denied","time":"t"}`: `runc run failed: exec: "/x": permission denied`,
		`{"msg":"one","level":"error"}` + "\n" + `{"msg":"two","level":"error"}` + "\nhalf {":   "two",
	} {
		filestest.Write(t, log, text)
		if got := lastError(log); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestWhyEnded(t *testing.T) {
	for status, want := range map[int]string{1: "runc: exit status 1", 128 + 9: "a signal ended it: killed", 128 + 15: "a signal ended it: terminated"} {
		err := exec.Command("bash", "-c", fmt.Sprintf("exit %d", status)).Run()
		got := whyEnded("/usr/sbin/runc", err)
		var signal *SignalError
		if got.Error() != want || errors.As(got, &signal) != (status > 128) || signal != nil && signal.Killed() != (status == 137) {
			t.Errorf("%d: %v, want %s", status, got, want)
		}
	}
}

// A runtime, and so its container, has the user's terminal only where the
// command is given one.
func TestRuntimesSession(t *testing.T) {
	own, err := unix.Getsid(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, terminal := range []bool{false, true} {
		dir := t.TempDir()
		file := filepath.Join(dir, "runtime")
		filestest.Write(t, file, "#!/bin/bash\nread -r -a stat </proc/$$/stat\necho ${stat[5]}\n")
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		_, err := Host{Runtime: file, Dir: dir}.run(context.Background(), &specs.Spec{}, Options{
			Terminal: terminal, Stdin: strings.NewReader(""), Stdout: &said, Stderr: &said,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(said.String()); (got == strconv.Itoa(own)) != terminal {
			t.Errorf("terminal %t: the session is %s, this one's %d", terminal, got, own)
		}
	}
}
