// kubeadm prints the kinds that the generated code lists.
package main

import (
	"fmt"
	"strings"

	"k8s.io/kubernetes/pkg/api"
	"k8s.io/kubernetes/pkg/version"
)

func main() {
	fmt.Println(strings.Join(api.Kinds, " "), version.Get())
}
