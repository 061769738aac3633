package mirror

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestParsePlatform(t *testing.T) {
	for _, text := range []string{"", "linux/amd64", "linux/arm/v7"} {
		p, err := ParsePlatform(text)
		if err != nil || p.String() != text {
			t.Errorf("%q: %+v (%v)", text, p, err)
		}
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var again Platform
		if err := json.Unmarshal(data, &again); err != nil || again != p {
			t.Errorf("%q: %+v from %s (%v)", text, again, data, err)
		}
	}
	for _, text := range []string{"amd64", "/", "linux/", "/amd64", "linux/arm/", "linux//v7", "linux/arm/v7/x"} {
		var syntax *SyntaxError
		if p, err := ParsePlatform(text); !errors.As(err, &syntax) {
			t.Errorf("%q: %+v (%v), want a *SyntaxError", text, p, err)
		}
	}
}

func TestPlatformOrHost(t *testing.T) {
	if p := (Platform{}).OrHost(); p.OS != "linux" || p.Architecture == "" {
		t.Errorf("the host's is %+v", p)
	}
	if p := (Platform{OS: "linux", Architecture: "arm", Variant: "v7"}); p.OrHost() != p {
		t.Errorf("%s became %s", p, p.OrHost())
	}
}

func TestPlatformRuns(t *testing.T) {
	for _, test := range []struct {
		has, want Platform
		runs      bool
	}{
		{Platform{"linux", "amd64", ""}, Platform{"linux", "amd64", ""}, true},
		{Platform{"linux", "arm64", ""}, Platform{"linux", "amd64", ""}, false},
		{Platform{"windows", "amd64", ""}, Platform{"linux", "amd64", ""}, false},
		{Platform{}, Platform{"linux", "amd64", ""}, true},
		{Platform{"linux", "arm64", "v8"}, Platform{"linux", "arm64", ""}, true},
		{Platform{"linux", "arm", "v6"}, Platform{"linux", "arm", "v7"}, false},
	} {
		if got := test.has.runs(test.want); got != test.runs {
			t.Errorf("%s as %s: %v, want %v", test.has, test.want, got, test.runs)
		}
	}
}
