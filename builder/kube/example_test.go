package kube_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/kubetest"
)

func ExampleOpenTree() {
	dir, err := os.MkdirTemp("", "kube-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	root := filepath.Join(dir, "kubernetes")
	if err := kubetest.Write("1.2", root, ""); err != nil { // a small tree of that age
		fmt.Println(err)
		return
	}
	environment := func(string) (string, bool) { return "", false } // os.LookupEnv, for most
	tree, err := kube.OpenTree(context.Background(), root, environment)
	if err != nil {
		fmt.Println(err)
		return
	}
	targets, err := tree.ResolveTargets([]string{"kubelet"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tree.Recipe.BaseImage)
	fmt.Println(tree.Recipe.Workdir)
	fmt.Println(tree.Recipe.CommandLine(targets, nil))
	// Output:
	// gcr.io/google_containers/kube-cross:v1.4.2-1
	// /go/src/k8s.io/kubernetes
	// [hack/build-go.sh cmd/kubelet]
}

func ExampleParsePlatform() {
	p, err := kube.ParsePlatform("linux/arm64")
	fmt.Println(p.OS, p.Arch, err)
	_, err = kube.ParsePlatform("arm64")
	fmt.Println(err)
	// Output:
	// linux arm64 <nil>
	// "arm64" is not a platform
}
