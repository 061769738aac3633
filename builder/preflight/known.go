package preflight

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A hole is a fault of runc through which a container gets out, with the
// releases that mend it, one for each line; the later lines have no such fault.
type hole struct {
	name  string
	fixed []string
}

// holes of runc. In which releases they are mended is what distributions say that
// took these over: microsoft/azurelinux#17884 and getsolus/packages#9334 for the
// last; opencontainers/runc v1.2.8, v1.3.3 and v1.4.0-rc.3 mend the others.
var holes = []hole{
	{"CVE-2025-31133", []string{"1.2.8", "1.3.3", "1.4.0"}},
	{"CVE-2025-52565", []string{"1.2.8", "1.3.3", "1.4.0"}},
	{"CVE-2025-52881", []string{"1.2.8", "1.3.3", "1.4.0"}},
	{"CVE-2026-41579", []string{"1.3.6", "1.4.3"}},
}

var (
	release = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)`)
	version = regexp.MustCompile(`^(runc|crun) version (\S+)`)
)

// parse reads a release such as 1.1.5+ds1.
func parse(text string) (v [3]int, ok bool) {
	m := release.FindStringSubmatch(text)
	if m == nil {
		return v, false
	}
	for i := range v {
		var err error
		if v[i], err = strconv.Atoi(m[i+1]); err != nil {
			return v, false
		}
	}
	return v, true
}

// mends reports whether a release has what is fixed in the others.
func mends(v [3]int, fixed []string) bool {
	for i, text := range fixed {
		f, ok := parse(text)
		if !ok {
			continue
		}
		sameLine := v[0] == f[0] && v[1] == f[1]
		later := v[0] > f[0] || v[0] == f[0] && v[1] > f[1]
		if sameLine && v[2] >= f[2] || later && i == len(fixed)-1 {
			return true
		}
	}
	return false
}

// KnownHoles says which faults a runtime's version may have. said is what it
// prints of its version, and packaged the version of the distribution's package
// that it comes from, or "": a distribution mends a release without giving it
// another number, so that only its own list knows.
func KnownHoles(said, packaged string) Finding {
	f := Finding{Check: "runtime's version"}
	line, _, _ := strings.Cut(said, "\n")
	m := version.FindStringSubmatch(line)
	if m == nil || m[1] != "runc" {
		f.Found = strings.TrimSpace("whether " + line + " has known faults is unknown")
		return f
	}
	f.Found = m[1] + " " + m[2]
	v, ok := parse(m[2])
	if !ok {
		f.Found += ": whether it has known faults is unknown"
		return f
	}
	var open []string
	for _, h := range holes {
		if !mends(v, h.fixed) {
			open = append(open, h.name)
		}
	}
	if open == nil {
		return f
	}
	f.Severity = Warning
	f.Found += " may have " + strings.Join(open, ", ")
	if packaged != "" {
		f.Found += fmt.Sprintf("; whether the package, %s, mends them is unknown here: its changelog tells", packaged)
	}
	return f
}

// versionTime is what a program has to print its version.
const versionTime = 2 * time.Second

// InstalledHoles is [KnownHoles] of the runtime that is looked for first here.
func InstalledHoles(ctx context.Context, h Host) (Finding, bool) {
	runtimes := h.Runtimes()
	if len(runtimes) == 0 {
		return Finding{}, false
	}
	output := func(program string, args ...string) string {
		ctx, cancel := context.WithTimeout(ctx, versionTime)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.WaitDelay = versionTime
		out, err := cmd.Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	name := filepath.Base(runtimes[0])
	packaged := output("dpkg-query", "-W", "-f", "${Package} ${Version}", name)
	if packaged == "" {
		packaged = output("rpm", "-qf", runtimes[0])
	}
	return KnownHoles(output(runtimes[0], "--version"), packaged), true
}
