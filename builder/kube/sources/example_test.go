package sources_test

import (
	"fmt"

	"github.com/kbuild/kbuild/builder/kube/sources"
)

func ExampleParseFilter() {
	filter, err := sources.ParseFilter("- /.git/", "+ types.go", "H zz_generated.*")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"pkg/api/types.go", "pkg/api/zz_generated.go"} {
		fmt.Println(name, filter.Includes(name, false))
	}
	// Output:
	// pkg/api/types.go true
	// pkg/api/zz_generated.go false
}
