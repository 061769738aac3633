package golang

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]struct {
		release Release
		name    string
	}{
		"1.15.15":    {Release{1, 15, 15, ""}, "go1.15.15"},
		"go1.4":      {Release{1, 4, 0, ""}, "go1.4"},
		"1.20.0":     {Release{1, 20, 0, ""}, "go1.20"},
		"go1.21.0":   {Release{1, 21, 0, ""}, "go1.21.0"},
		"1.21":       {Release{1, 21, 0, ""}, "go1.21.0"},
		"go1.21rc2":  {Release{1, 21, 0, "rc2"}, "go1.21rc2"},
		"go1.5beta1": {Release{1, 5, 0, "beta1"}, "go1.5beta1"},
	} {
		if got, ok := Parse(text); !ok || got != want.release || got.Name() != want.name {
			t.Errorf("%s is %+v, %s, %v, want %+v", text, got, got.Name(), ok, want)
		}
	}
	for _, text := range []string{"", "go", "1", "go1", "1.x", "1.4.3.2", "1.99999", "1.4.3x", "v1.4.3", "go1.4 ", "1.4\n",
		"./1.4", "go1.26.8 X:nodwarf5"} {
		if got, ok := Parse(text); ok {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{
		"go1.4.3":                               "1.4.3",
		"go1.4.2\n":                             "1.4.2",
		"go1.4":                                 "1.4.0",
		"go1.21.0\ntime 2023-08-04T20:14:06Z\n": "1.21.0",
		"go1.26.8 X:nodwarf5":                   "1.26.8",
		"go1.26rc1":                             "1.26.0",
		"go1.5beta2":                            "1.5.0",
		"go1.12.5b4":                            "1.12.5",
		"go1.24.5-custom":                       "1.24.5",
		"devel +0123456 Mon Jan 1":              "",
		"go1":                                   "",
		"go1.4.3x":                              "",
		"1.4.3":                                 "",
		"go version go1.4.3":                    "",
		"":                                      "",
	} {
		r, ok := ParseVersion(text)
		if got := r.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%q is %s, %v, want %q", text, got, ok, want)
		}
	}
}

func TestSameLine(t *testing.T) {
	a := Release{1, 4, 2, ""}
	for other, want := range map[Release]bool{
		{1, 4, 2, ""}: true, {1, 4, 3, ""}: true, {1, 6, 2, ""}: false, {2, 4, 2, ""}: false,
	} {
		if got := a.SameLine(other); got != want {
			t.Errorf("%v and %v: %v", a, other, got)
		}
	}
}
