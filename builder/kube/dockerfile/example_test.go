package dockerfile_test

import (
	"fmt"

	"github.com/kbuild/kbuild/builder/kube/dockerfile"
)

func ExampleParse() {
	file, err := dockerfile.Parse("build/build-image/Dockerfile", []byte(`ARG VERSION=v1
FROM gcr.io/google_containers/kube-cross:${VERSION}
RUN mkdir -p /go/src \
  && chmod 777 /go/src
ADD https://example.com/x /x
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, i := range file.Instructions {
		fmt.Println(i.Start, i.Name)
	}
	bases, err := file.Bases(map[string]string{"VERSION": "v1.4.2-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(bases[0].Image)
	fmt.Println(file.Check())
	// Output:
	// 1 arg
	// 2 from
	// 3 run
	// 5 add
	// gcr.io/google_containers/kube-cross:v1.4.2-1
	// build/build-image/Dockerfile: line 5: ADD copies from the URL "https://example.com/x", which is not allowed
}
