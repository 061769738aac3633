package builder

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestShim(t *testing.T) {
	if file, err := (Host{Dir: t.TempDir()}).runtimeProgram(); file != "" || err != nil {
		t.Errorf("without a runtime: %q, %v", file, err)
	}

	dir, runtimes := t.TempDir(), filepath.Join(t.TempDir(), "it's $HOME")
	if err := os.Mkdir(runtimes, 0o755); err != nil {
		t.Fatal(err)
	}
	real := filepath.Join(runtimes, "runc")
	if err := os.WriteFile(real, []byte("#!/bin/sh\necho \"the runtime: $*\"\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h := Host{Isolation: IsolationOCI, Runtime: real, Dir: dir}
	var program string
	for range 2 { // a second run of a container finds it there
		var err error
		if program, err = h.runtimeProgram(); err != nil {
			t.Fatal(err)
		}
	}
	if filepath.Base(program) != "runc" {
		t.Errorf("it is called %s", program)
	}

	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	const running = "{\"status\":\"running\"}\n"
	here, gone := fmt.Sprint(os.Getpid()), fmt.Sprint(ended.Process.Pid)
	for _, test := range []struct{ pid, command, want string }{
		{here, "state", running},
		{here + "\n", "state", running},
		{gone, "state", "the runtime: --root /a state b state state\n"},
		{"", "state", "the runtime: --root /a state b state state\n"},
		{"-1", "state", "the runtime: --root /a state b state state\n"},
		{"1 2", "state", "the runtime: --root /a state b state state\n"},
		{"no file", "state", "the runtime: --root /a state b state state\n"},
		{here, "kill", "the runtime: --root /a state b kill state\n"},
		{here, "delete", "the runtime: --root /a state b delete state\n"},
	} {
		bundle := t.TempDir()
		if test.pid != "no file" {
			if err := os.WriteFile(filepath.Join(bundle, "pid"), []byte(test.pid), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(program, "--root", "/a state b", test.command, "state")
		cmd.Dir = bundle
		out, err := cmd.CombinedOutput()
		if string(out) != test.want || (test.want == running) != (err == nil) {
			t.Errorf("%s with pid %q: %q, %v, want %q", test.command, test.pid, out, err, test.want)
		}
	}
}
