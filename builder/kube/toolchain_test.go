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

// TestGoPromise holds what a tree promises of its base image. All trees that
// assemble it call it the same; a name of the user's own promises nothing.
func TestGoPromise(t *testing.T) {
	local := openTree(t, releaseTree(t, "1.0"))
	writeFiles(t, local.Root, map[string]string{local.Recipe.CrossDockerfile: "FROM golang:1.4\n"})
	p, ok := local.GoPromise()
	if !ok || p.Release.String() != "1.4.0" || !p.AnyPatch || p.By != "FROM golang:1.4 in build/build-image/cross/Dockerfile" {
		t.Errorf("1.0 promises %+v, %t", p, ok)
	}
	writeFiles(t, local.Root, map[string]string{local.Recipe.CrossDockerfile: "FROM golang:1.5.3\n"})
	if p, ok := local.GoPromise(); !ok || p.Release.String() != "1.5.3" || p.AnyPatch {
		t.Errorf("with golang:1.5.3, 1.0 promises %+v, %t", p, ok)
	}
	named := openTree(t, releaseTree(t, "1.2"))
	if p, ok := named.GoPromise(); !ok || p.By != "v1.4.2-1" || p.Release.String() != "1.4.2" {
		t.Errorf("1.2 promises %+v, %t", p, ok)
	}
	named.Recipe.BaseImage = "registry.example/mine:latest"
	if p, ok := named.GoPromise(); ok {
		t.Errorf("an image of the user's promises %+v", p)
	}
}
