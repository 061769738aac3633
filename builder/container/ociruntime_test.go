package container

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kbuild/kbuild/storage/files/filestest"
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
