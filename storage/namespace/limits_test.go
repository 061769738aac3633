package namespace_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Limits that Go's runtime cannot live with are told in one line.
func TestLimits(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	limits := map[string]string{"-v 300000": "ulimit -v", "-v 1500000": "ulimit -v"}
	if os.Geteuid() != 0 { // root is not limited
		limits["-u 1"] = "ulimit -u"
	}
	for limit, want := range limits {
		// The shell becomes the program, so that it starts no process.
		out, err := exec.Command("bash", "-c", `ulimit `+limit+` && exec "$0" -test.run '^$'`, self).CombinedOutput()
		var exit *exec.ExitError
		said := string(out)
		if !errors.As(err, &exit) || exit.ExitCode() != 125 || strings.Count(said, "\n") != 1 || !strings.Contains(said, want) {
			t.Errorf("ulimit %s: %v\n%s", limit, err, said)
		}
	}
}
