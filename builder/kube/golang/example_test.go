package golang_test

import (
	"fmt"

	"github.com/kbuild/kbuild/builder/kube/golang"
)

func ExampleParse() {
	for _, text := range []string{"1.15.15", "go1.4", "1.21", "latest"} {
		release, ok := golang.Parse(text)
		fmt.Println(release.Name(), ok)
	}
	// Output:
	// go1.15.15 true
	// go1.4 true
	// go1.21.0 true
	// go0.0 false
}
