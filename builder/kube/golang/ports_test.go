package golang

import (
	"os/exec"
	"strings"
	"testing"
)

func TestPorts(t *testing.T) {
	old, first, newer := Release{Major: 1, Minor: 4, Patch: 2}, Release{Major: 1, Minor: 5}, Release{Major: 1, Minor: 26}
	for _, test := range []struct {
		release  Release
		platform string
		has      bool
	}{
		{old, "linux/arm", true}, {old, "linux/arm64", false}, {old, "windows/amd64", true}, {old, "linux/foo", false},
		{first, "linux/arm64", true}, {newer, "linux/riscv64", true}, {newer, "linux/foo", false}, {newer, "arm/linux", false},
	} {
		if has := test.release.HasPort(test.platform); has != test.has {
			t.Errorf("%s for %s: %t", test.release, test.platform, has)
		}
	}
	if !old.MakesPorts() || first.MakesPorts() || newer.MakesPorts() {
		t.Error("1.5 is the first release that is not made for each platform")
	}
}

// TestPortsOfThisGo holds the list against that of the Go that runs the tests.
func TestPortsOfThisGo(t *testing.T) {
	list, err := exec.Command("go", "tool", "dist", "list").Output()
	if err != nil {
		t.Fatalf("go tool dist list: %v", err)
	}
	for _, platform := range strings.Fields(string(list)) {
		if !(Release{Major: 1, Minor: 26}).HasPort(platform) {
			t.Errorf("%s is missing", platform)
		}
	}
}
