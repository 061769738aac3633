// The kubelet prints a line about its node and ends.
package main

import (
	"fmt"
	"os"

	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/version"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "--version", "--version=true":
			fmt.Println("Kubernetes", version.Get())
		case "--version=raw":
			fmt.Printf("%#v\n", version.Get())
		default:
			fmt.Fprintln(os.Stderr, "kubelet: unknown argument", os.Args[1])
			os.Exit(1)
		}
		return
	}
	fmt.Println(kubelet.Status())
}
