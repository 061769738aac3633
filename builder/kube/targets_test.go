package kube

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestTargets(t *testing.T) {
	root := smallTree(t, map[string]string{"contrib/extra/cmd/more/more.go": "package main\n"})
	for _, env := range [][]string{nil, {"KUBERNETES_CONTRIB=extra"}} {
		got, err := openTree(t, root, env...).Targets()
		want := strings.Fields(bash(t, root, env, `source hack/lib/golang.sh; echo "${KUBE_ALL_TARGETS[@]}"`))
		if err != nil || !reflect.DeepEqual(got, want) || len(want) < 6 {
			t.Errorf("with %q the targets are %q, %v, want %q", env, got, err, want)
		}
	}
}

func TestTargetsErrors(t *testing.T) {
	script, err := os.ReadFile("testdata/tree/hack/lib/golang.sh")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, old, new, want string }{
		{"none", "KUBE_ALL_TARGETS=", "KUBE_TARGETS=", "hack/lib/golang.sh: cannot find KUBE_ALL_TARGETS=("},
		{"no server targets", "readonly KUBE_SERVER_TARGETS=", "readonly SERVERS=", "cannot find KUBE_SERVER_TARGETS=("},
		{"no function", "kube::golang::server_targets() {", "server_targets() {",
			"cannot find the function kube::golang::server_targets"},
		{"itself", `"${KUBE_CLIENT_TARGETS[@]}"`, `"${KUBE_ALL_TARGETS[@]}"`, "refers to itself"},
		{"computed", "  cmd/kubectl\n", "  ${KUBECTL}\n",
			"KUBE_CLIENT_TARGETS: line 25: only a shell can tell what ${KUBECTL} is"},
		{"other expansion", `"${KUBE_CLIENT_TARGETS[@]}"`, `"${KUBE_CLIENT_TARGETS[@]##*/}"`, "only a shell"},
		{"set twice", "place_bins() {", "KUBE_CLIENT_TARGETS=(x)", "KUBE_CLIENT_TARGETS=( is there 2 times"},
		{"conditional", "    cmd/kube-proxy\n", "    $([[ -n $X ]] && echo x)\n", "only a shell"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			changed := strings.Replace(string(script), test.old, test.new, 1)
			if changed == string(script) {
				t.Fatal("nothing was replaced")
			}
			tree := openTree(t, smallTree(t, map[string]string{"hack/lib/golang.sh": changed}))
			if targets, err := tree.Targets(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("targets are %q, %v, want %q", targets, err, test.want)
			}
			if _, err := tree.ResolveTargets([]string{"cmd/kubelet"}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}

// targetTree has commands that are listed, that are not, and what is none.
func targetTree(t *testing.T) Tree {
	root := smallTree(t, map[string]string{
		"cmd/genman/gen.go":                   "// Comment.\n\npackage main\n",
		"plugin/cmd/genman/gen.go":            "package main\n",
		"plugin/cmd/kube-dns/dns.go":          "package main\n",
		"cmd/library/library.go":              "package library\n",
		"cmd/library/gen.go":                  "// +build ignore\n\npackage main\n",
		"cmd/windows/main_windows.go":         "package main\n",
		"cmd/broken/main.go":                  "pack main\n",
		"cmd/tested/x_test.go":                "package main\n",
		"cmd/cgo/main.go":                     "package main\n\nimport \"C\"\n",
		"contrib/tool/main.go":                "package main\n",
		"example.org/tool/main.go":            "package main\n",
		"pkg/api/types_test.go":               "package api\n",
		"pkg/tools/deep/er/main.go":           "package main\n",
		"docs/kubelet/main.go":                "package main\n",
		"cmd/directory.go/":                   "",
		"cmd/kube-controller-manager/main.go": "package main\n",
	})
	for link, target := range map[string]string{"cmd/link": "kubelet", "cmd/kubelet2/x": "", "pkg/up": "../cmd"} {
		path := filepath.Join(root, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if target == "" {
			continue
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	return openTree(t, root)
}

func TestResolveTargets(t *testing.T) {
	tree := targetTree(t)
	tests := []struct{ arg, want string }{
		{"cmd/kubelet", "cmd/kubelet"},
		{"./cmd/kubelet", "cmd/kubelet"},
		{"cmd/kubelet/", "cmd/kubelet"},
		{"cmd//kubelet/../kubelet", "cmd/kubelet"},
		{"k8s.io/kubernetes/cmd/kubelet", "cmd/kubelet"},
		{"kubelet", "cmd/kubelet"},
		{"kube-scheduler", "plugin/cmd/kube-scheduler"},
		{"kube-dns", "plugin/cmd/kube-dns"},
		{"cmd/genman", "cmd/genman"},
		{"cmd/cgo", "cmd/cgo"},
		{"pkg/tools/deep/er", "pkg/tools/deep/er"},
		{"example.com/greet/hello", "example.com/greet/hello"},
		{"hello", "example.com/greet/hello"},
		{"pkg/e2e/e2e.test", "pkg/e2e/e2e.test"},
		{"e2e.test", "pkg/e2e/e2e.test"},
		{"pkg/api/api.test", "pkg/api/api.test"},
	}
	for _, test := range tests {
		got, err := tree.ResolveTargets([]string{test.arg})
		if err != nil || !reflect.DeepEqual(got, []string{test.want}) {
			t.Errorf("%s is %q, %v, want %s", test.arg, got, err, test.want)
		}
	}
	if got, err := tree.ResolveTargets([]string{"kube-dns", "kubelet", "plugin/cmd/kube-dns",
		"cmd/kubelet"}); err != nil ||
		!reflect.DeepEqual(got, []string{"plugin/cmd/kube-dns", "cmd/kubelet"}) {
		t.Errorf("with repetitions: %q, %v", got, err)
	}
	if got, err := tree.ResolveTargets(nil); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %q, %v", got, err)
	}
}

func TestResolveTargetsErrors(t *testing.T) {
	tree := targetTree(t)
	tests := []struct {
		arg  string
		near []string
		want string
	}{
		{"kubelt", []string{"cmd/kubelet", "cmd/kubectl"}, "unknown target"},
		{"cmd/kublet", []string{"cmd/kubelet"}, "unknown target"},
		{"cmd/kube-scheduler", []string{"plugin/cmd/kube-scheduler"}, "unknown target"},
		{"kube-schedlure", []string{"plugin/cmd/kube-scheduler"}, "unknown target"},
		{"scheduler", []string{"plugin/cmd/kube-scheduler"}, "unknown target"},
		{"controler-manager", []string{"cmd/kube-controller-manager"}, "unknown target"},
		{"KUBELET", nil, "unknown target"},
		{"genman", []string{"cmd/genman", "plugin/cmd/genman"}, "ambiguous target"},
		{"nonsense", nil, "unknown target"},
		{"", nil, "not a directory of the tree"},
		{".", nil, "not a directory of the tree"},
		{"..", nil, "not a directory of the tree"},
		{"../x", nil, "not a directory of the tree"},
		{"cmd/../../x", nil, "not a directory of the tree"},
		{"/etc", nil, "not a directory of the tree"},
		{"-v", nil, "not a directory of the tree"},
		{"cmd/kubelet\x00", nil, "not a directory of the tree"},
		{"cmd", nil, "unknown target"},
		{"cmd/library", nil, "unknown target"},
		{"cmd/windows", nil, "unknown target"},
		{"cmd/broken", nil, "unknown target"},
		{"cmd/tested", nil, "unknown target"},
		{"cmd/link", nil, "unknown target"},
		{"pkg/up/kubelet", []string{"cmd/kubelet"}, "unknown target"},
		{"cmd/kubelet/kubelet.go", []string{"cmd/kubelet"}, "unknown target"},
		{"pkg/api/apii.test", []string{"pkg/api/api.test"}, "unknown target"},
		{"cmd/kubelet/kubelet.test", nil, "unknown target"},
		{"contrib/tool", nil, "not among the sources that build/common.sh names"},
		{"docs/kubelet", []string{"cmd/kubelet"}, "not among the sources"},
		{"example.org/tool", nil, "unknown target"},
		{"example.com/greet/helo", []string{"example.com/greet/hello"}, "unknown target"},
	}
	for _, test := range tests {
		got, err := tree.ResolveTargets([]string{"cmd/kubectl", test.arg})
		var target *TargetError
		if !errors.As(err, &target) {
			t.Errorf("%q is %q, %v", test.arg, got, err)
			continue
		}
		near := target.Near
		if target.Target != test.arg || !reflect.DeepEqual(near, test.near) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, near %q, want %q, near %q", test.arg, err, near, test.want, test.near)
		}
		if listed, err := tree.Targets(); err != nil || !reflect.DeepEqual(target.Listed, listed) {
			t.Errorf("%q: the tree lists %q, want %q (%v)", test.arg, target.Listed, listed, err)
		}
	}
	many := targetTree(t)
	writeFiles(t, many.Root, map[string]string{
		"cmd/prog1/m.go": "package main", "cmd/prog2/m.go": "package main", "cmd/prog3/m.go": "package main",
		"cmd/prog4/m.go": "package main", "cmd/prog5/m.go": "package main", "cmd/prog6/m.go": "package main",
	})
	var target *TargetError
	if _, err := many.ResolveTargets([]string{"prog0"}); !errors.As(err, &target) || len(target.Near) != maxNear {
		t.Errorf("%v, near %q", err, target.Near)
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "ac", 1},
		{"abc", "acb", 1}, {"kitten", "sitting", 3}, {"kubelet", "kubectl", 3}, {"ab", "ba", 1},
	} {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("from %q to %q are %d, want %d", test.a, test.b, got, test.want)
		}
		if got := editDistance(test.b, test.a); got != test.want {
			t.Errorf("from %q to %q are %d, want %d", test.b, test.a, got, test.want)
		}
	}
}
