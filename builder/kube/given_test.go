package kube

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube/kubetest"
)

// asking is a small tree whose script passes a variable to its container.
func asking(t *testing.T, value string) string {
	t.Helper()
	root := releaseTree(t, "1.2")
	const before = `"KUBE_FASTBUILD=${KUBE_FASTBUILD:-false}"`
	data := readFile(t, root, "build/common.sh")
	if !strings.Contains(data, before) {
		t.Fatal("the small tree has no KUBE_FASTBUILD")
	}
	writeFiles(t, root, map[string]string{"build/common.sh": strings.Replace(data, before, `"X=`+value+`"`, 1)})
	return root
}

// secrets are variables of a user that no tree asks for in good faith.
var secrets = []string{
	"AWS_SECRET_ACCESS_KEY=s3cr3t", "KUBE_TOKEN=s3cr3t", "GOAUTH=s3cr3t", "GOOGLE_CREDENTIALS=s3cr3t",
	"GITHUB_TOKEN=s3cr3t", "KUBECONFIG=s3cr3t",
	"KUBE_GIT_TOKEN=s3cr3t", "DOCKER_AUTH_CONFIG=s3cr3t", "HOME=/home/s3cr3t",
}

// Of the user's variables a tree's scripts get those that upstream's build
// reads, and those that he names.
func TestScriptsAreGivenNamedVariablesOnly(t *testing.T) {
	ctx := context.Background()
	for _, secret := range secrets {
		name, _, _ := strings.Cut(secret, "=")
		user := environment(slices.Concat(secrets, []string{"EMPTY="})...)
		root := asking(t, "${"+name+":-}")
		tree, err := OpenTree(ctx, root, user)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(tree)
		if err != nil || strings.Contains(string(encoded), "s3cr3t") || !slices.Equal(tree.Withheld, []string{name}) {
			t.Errorf("%s: %s is withheld of %s, %v", name, tree.Withheld, encoded, err)
		}
		tree, err = OpenTree(ctx, root, user, name)
		if err != nil || !slices.Contains(tree.Recipe.Environment, "X="+strings.TrimPrefix(secret, name+"=")) ||
			tree.Withheld != nil {
			t.Errorf("%s, which was named: %q, %q, %v", name, tree.Recipe.Environment, tree.Withheld, err)
		}
		tree, err = OpenTree(ctx, root, user, name+"=a$HOME=b")
		if err != nil || !slices.Contains(tree.Recipe.Environment, "X=a$HOME=b") {
			t.Errorf("%s, which was given: %q, %v", name, tree.Recipe.Environment, err)
		}
		_, err = OpenTree(ctx, asking(t, "${"+name+"}"), user)
		var withheld *WithheldError
		if !errors.As(err, &withheld) || withheld.Name != name || !strings.Contains(err.Error(), "build/common.sh") {
			t.Errorf("%s, which is needed: %v", name, err)
		}
	}
	// One that is empty, or not set, is nothing that could be withheld.
	tree := openTree(t, asking(t, "${EMPTY:-}${UNSET:-}"), "EMPTY=")
	if tree.Withheld != nil {
		t.Errorf("%s are withheld", tree.Withheld)
	}
	for _, bad := range []string{"", "=x", "A B", "1", "A-B=c"} {
		var variable *VariableError
		if _, err := OpenTree(ctx, releaseTree(t, "1.2"), environment(), bad); !errors.As(err, &variable) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A proxy's password does not get into the Dockerfile, and so into the image.
func TestProxiesWithoutPassword(t *testing.T) {
	ctx := context.Background()
	for _, release := range kubetest.Releases() {
		root := releaseTree(t, release)
		var env []string
		for _, name := range scriptVariables {
			if isProxy(name) && name != "GOPROXY" {
				env = append(env, name+"=http://us3r:s3cr3t@proxy.example.com:3128")
			}
		}
		for _, named := range [][]string{nil, env} {
			tree, err := OpenTree(ctx, root, environment(env...), named...)
			if err != nil {
				t.Fatal(err)
			}
			dockerfile, err := tree.BuildDockerfile(true)
			encoded, jsonErr := json.Marshal(tree)
			if err := errors.Join(err, jsonErr); err != nil || strings.Contains(string(dockerfile)+string(encoded), "s3cr3t") {
				t.Errorf("%s: %v\n%s\n%s", release, err, dockerfile, encoded)
			}
			if asks := strings.Contains(string(dockerfile), "http://proxy.example.com:3128"); asks != (tree.Reduced != nil) {
				t.Errorf("%s: %q are reduced, the Dockerfile is\n%s", release, tree.Reduced, dockerfile)
			}
		}
	}
	root := releaseTree(t, "1.35")
	const goproxy = "GOPROXY=https://u:s3cr3t@go.example.com/x,direct|http://t0ken@b"
	for want, named := range map[string][]string{"GOPROXY=https://go.example.com/x,direct|http://b": nil,
		goproxy: {"GOPROXY"}} {
		tree, err := OpenTree(ctx, root, environment(goproxy), named...)
		if err != nil || !slices.Contains(tree.Recipe.Environment, want) ||
			(named == nil) != slices.Equal(tree.Reduced, []string{"GOPROXY"}) {
			t.Errorf("%q: %q, %q, %v", named, tree.Recipe.Environment, tree.Reduced, err)
		}
	}
	for value, want := range map[string]string{
		"http://p:1": "http://p:1", "u:p@host:1": "host:1", "http://u:p@ss@host:1/": "http://host:1/",
		"http://u:a/b@host": "http://host", "": "", "@": "",
		"http://u@[::1]:3128": "http://[::1]:3128",
	} {
		if got := WithoutCredentials(value); got != want {
			t.Errorf("%q is %q, want %q", value, got, want)
		}
	}
}

// A tree that crosses to another process is the same there.
func TestTreeIsData(t *testing.T) {
	for _, release := range kubetest.Releases() {
		tree, err := openTree(t, releaseTree(t, release), "KUBERNETES_CONTRIB=", "KUBE_GIT_COMMIT=abc",
			"KUBE_BUILD_HTTP_PROXY=http://p").WithGitVersion("v1.20.2")
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(tree)
		var back Tree
		if err = errors.Join(err, json.Unmarshal(encoded, &back)); err != nil || !reflect.DeepEqual(back, tree) {
			t.Errorf("%s: %v\n%+v is\n%+v", release, err, tree, back)
		}
	}
}
