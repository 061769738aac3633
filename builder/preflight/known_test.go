package preflight

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKnownHoles(t *testing.T) {
	for said, want := range map[string]struct {
		severity Severity
		found    string
	}{
		"runc version 1.1.5+ds1\ncommit: x": {Warning, "runc 1.1.5+ds1; it may have CVE-2025-31133, CVE-2025-52565, CVE-2025-52881, CVE-2026-41579; whether its package, p, fixes them is unknown"},
		"runc version 1.2.8":                {Warning, "may have CVE-2026-41579"},
		"runc version 1.3.2":                {Warning, "CVE-2025-31133"},
		"runc version 1.3.3":                {Warning, "may have CVE-2026-41579"},
		"runc version 1.3.6":                {Fine, "runc 1.3.6"},
		"runc version 1.4.2":                {Warning, "may have CVE-2026-41579"},
		"runc version 1.4.3":                {Fine, "runc 1.4.3"},
		"runc version 1.5.0":                {Fine, "runc 1.5.0"},
		"runc version 2.0.0":                {Fine, "runc 2.0.0"},
		"runc version unknown":              {Fine, "is unknown"},
		"crun version 1.8.1":                {Warning, "crun 1.8.1; it may have CVE-2026-88264, CVE-2026-88265"},
		"crun version 1.30":                 {Fine, "crun 1.30"},
		"crun version 1.30.1":               {Fine, "crun 1.30.1"},
		"youki version 1":                   {Fine, "whether youki version 1 has known faults is unknown"},
		"":                                  {Fine, "is unknown"},
	} {
		if f := KnownHoles(said, Package{Name: "p"}); f.Severity != want.severity || !strings.Contains(f.Found, want.found) {
			t.Errorf("%q: %+v", said, f)
		}
	}
}

// What a distribution fixed in an older release its package's changelog says.
func TestKnownHolesOfAPackage(t *testing.T) {
	const changelog = "runc (1.1.5+ds1-1+deb12u2) bookworm-security\n  * CVE-2025-31133, CVE-2025-52565, CVE-2025-52881\n"
	for text, want := range map[string]struct {
		severity Severity
		found    string
	}{
		changelog: {Warning, "; its package, p, fixes CVE-2025-31133, CVE-2025-52565, CVE-2025-52881; it may have CVE-2026-41579: " +
			"the changelog of its package, p, names no fix"},
		changelog + "CVE-2026-41579": {Fine, "fixes CVE-2025-31133, CVE-2025-52565, CVE-2025-52881, CVE-2026-41579"},
		"runc (1) new":               {Warning, "runc 1.1.5; it may have CVE-2025-31133"},
	} {
		if f := KnownHoles("runc version 1.1.5", Package{"p", text}); f.Severity != want.severity || !strings.Contains(f.Found, want.found) {
			t.Errorf("%q: %+v", text, f)
		}
	}
	for said, want := range map[string]string{
		"runc: /usr/sbin/runc":       "runc",
		"runc:amd64: /usr/sbin/runc": "runc",
		"diversion by x from: /usr/sbin/runc\nx, y: /usr/sbin/runc\nrunc: /usr/sbin/runc\n": "runc",
		"runc: /usr/sbin/runc2": "",
		"":                      "",
	} {
		if got := debianOwner(said, "/usr/sbin/runc"); got != want {
			t.Errorf("%q: the package is %q, want %q", said, got, want)
		}
	}
	file := filepath.Join(t.TempDir(), "changelog.Debian.gz")
	if got := debianChangelog(file); got != "" {
		t.Errorf("a changelog that is not there says %q", got)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(changelog)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := debianChangelog(file); got != changelog {
		t.Errorf("the changelog says %q", got)
	}
}

// PATH may have a link to a runtime, and dpkg another path of it than it has now.
func TestPackageOfALink(t *testing.T) {
	env, err := filepath.EvalSymlinks("/usr/bin/env")
	if err != nil {
		t.Fatal(err)
	}
	merged := false
	if a, err := os.Stat("/bin/env"); err == nil {
		b, err := os.Stat(env)
		merged = err == nil && os.SameFile(a, b)
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "runc")
	if err := os.Symlink(env, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for lists, want := range map[string]bool{env: true, "/bin/env": merged, "/sbin/env": false} {
		script := "#!/bin/sh\ncase $1,$2 in\n-S," + lists + ") echo \"tools: $2\" ;;\n-W,*) echo tools 1 ;;\n*) exit 1 ;;\nesac\n"
		if err := os.WriteFile(filepath.Join(dir, "dpkg-query"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{link, env} {
			if got := packageOf(t.Context(), path).Name; (got == "tools 1") != want {
				t.Errorf("dpkg lists %s: %s is of %q", lists, path, got)
			}
		}
	}
}
