// kubectl greets, or tells its version.
package main

import (
	"fmt"
	"os"

	"k8s.io/kubernetes/pkg/kubectl"
	"k8s.io/kubernetes/pkg/version"
)

func main() {
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	switch command {
	case "greet":
		fmt.Println(kubectl.Greet())
	case "version":
		fmt.Println("Client Version:", version.Get())
	default:
		fmt.Fprintln(os.Stderr, "usage: kubectl greet|version")
		os.Exit(1)
	}
}
