package golang

import "testing"

func TestPorts(t *testing.T) {
	old, first, newer := Release{Major: 1, Minor: 4, Patch: 2}, Release{Major: 1, Minor: 5}, Release{Major: 1, Minor: 26}
	for platform, has := range map[string]bool{
		"linux/arm": true, "linux/arm64": false, "windows/amd64": true, "linux/foo": false, "arm/linux": false,
	} {
		if old.HasPort(platform) != has {
			t.Errorf("%s for %s: %t", old, platform, !has)
		}
	}
	if !old.MakesPorts() || first.MakesPorts() || newer.MakesPorts() {
		t.Error("1.5 is the first release that is not made for each platform")
	}
}
