// The kube-scheduler chooses between two nodes.
package main

import (
	"fmt"
	"os"

	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/version"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println("Kubernetes", version.Get())
		return
	}
	fmt.Println("kube-scheduler: next pod goes to", scheduler.Pick(map[string]int{"node-1": 3, "node-2": 1}))
}
