package kube

import "testing"

func TestGoPromised(t *testing.T) {
	for image, want := range map[string]string{
		"gcr.io/google_containers/kube-cross:v1.4.2-1":                        "1.4.2",
		"gcr.io/google_containers/kube-cross:v1.6.3-8":                        "1.6.3",
		"gcr.io/google_containers/kube-cross:v1.9-1":                          "1.9.0",
		"k8s.gcr.io/build-image/kube-cross:v1.15.5-1":                         "1.15.5",
		"registry.k8s.io/build-image/kube-cross:v1.34.0-go1.24.5-bullseye.0":  "1.24.5",
		"registry.k8s.io/build-image/kube-cross:v1.36.0-go1.26rc1-bookworm.0": "1.26.0",
		"kube-build:cross-1.4.2-1":                                            "1.4.2",
		"localhost/kube-build:cross-1.4.2-1":                                  "1.4.2",
		"localhost:5000/kube-cross:v1.4.2-1":                                  "1.4.2",
		"kube-cross:v1.4.2-1@sha256:0123456789012345678901234567890123456789": "1.4.2",
		"v1.6.3-8":                                   "1.6.3",
		"v1.15.5-1":                                  "1.15.5",
		"gcr.io/google_containers/kube-cross":        "",
		"localhost:5000/kube-cross":                  "",
		"kube-build:cross":                           "",
		"kube-build:build-a41729bff3":                "",
		"gcr.io/google_containers/kube-cross:latest": "",
		"gcr.io/google_containers/kube-cross:v1.4.2": "",
		"gcr.io/google_containers/kube-cross:v99999999999999999999.1-1": "",
		"busybox:v1.4.2-1":                                           "",
		"gcr.io/kube-cross/other:v1.4.2-1":                           "",
		"kube-cross@sha256:0123456789012345678901234567890123456789": "",
		"registry.k8s.io/build-image/kube-cross:v1.34.0-bullseye.0":  "",
		"": "",
	} {
		v, ok := GoPromised(image)
		if got := v.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%s promises %s, %v, want %q", image, got, ok, want)
		}
	}
}

func TestParseGo(t *testing.T) {
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
		v, ok := ParseGo(text)
		if got := v.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%q is %s, %v, want %q", text, got, ok, want)
		}
	}
}

func TestSameMinor(t *testing.T) {
	a := GoVersion{1, 4, 2}
	for other, want := range map[GoVersion]bool{
		{1, 4, 2}: true, {1, 4, 3}: true, {1, 6, 2}: false, {2, 4, 2}: false,
	} {
		if got := a.SameMinor(other); got != want {
			t.Errorf("%v and %v: %v", a, other, got)
		}
	}
}

// What the scripts of 1.28 and later do about another Go than they want.
func TestWantedGo(t *testing.T) {
	const insists = "GO_VERSION=\"$(cat \"${KUBE_ROOT}/.go-version\")\"\nif [ -n \"${FORCE_HOST_GO:-}\" ]; then\n"
	for _, test := range []struct {
		golang, file string
		environment  []string
		want         string
	}{
		{insists, "1.25.7\n", nil, "1.25.7"},
		{insists, "1.25.7\n", []string{"FORCE_HOST_GO=", "GO_VERSION=", "GOTOOLCHAIN="}, "1.25.7"},
		{insists, "1.25.7\n", []string{"FORCE_HOST_GO=y"}, ""},
		{insists, "1.25.7\n", []string{"GOTOOLCHAIN=local"}, ""},
		{insists, "1.25.7\n", []string{"GOTOOLCHAIN=auto", "GO_VERSION=1.24.1"}, "1.24.1"},
		{insists, "", nil, ""},
		{"go version\n", "1.25.7\n", nil, ""},
	} {
		files := map[string]string{golangFile: test.golang}
		if test.file != "" {
			files[".go-version"] = test.file
		}
		root := t.TempDir()
		writeFiles(t, root, files)
		if got, err := wantedGo(opened(t, root), test.environment); got != test.want || err != nil {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}
