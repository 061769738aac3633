package preflight

import (
	"strings"
	"testing"
)

func TestKnownHoles(t *testing.T) {
	for said, want := range map[string]struct {
		severity Severity
		found    string
	}{
		"runc version 1.1.5+ds1\ncommit: x": {Warning, "runc 1.1.5+ds1 may have CVE-2025-31133, CVE-2025-52565, CVE-2025-52881, CVE-2026-41579; whether the package, p,"},
		"runc version 1.2.8":                {Warning, "may have CVE-2026-41579"},
		"runc version 1.3.2":                {Warning, "CVE-2025-31133"},
		"runc version 1.3.3":                {Warning, "may have CVE-2026-41579"},
		"runc version 1.3.6":                {Fine, "runc 1.3.6"},
		"runc version 1.4.2":                {Warning, "may have CVE-2026-41579"},
		"runc version 1.4.3":                {Fine, "runc 1.4.3"},
		"runc version 1.5.0":                {Fine, "runc 1.5.0"},
		"runc version 2.0.0":                {Fine, "runc 2.0.0"},
		"runc version unknown":              {Fine, "is unknown"},
		"crun version 1.8.1":                {Fine, "whether crun version 1.8.1 has known faults is unknown"},
		"":                                  {Fine, "is unknown"},
	} {
		if f := KnownHoles(said, "p"); f.Severity != want.severity || !strings.Contains(f.Found, want.found) {
			t.Errorf("%q: %+v", said, f)
		}
	}
}
