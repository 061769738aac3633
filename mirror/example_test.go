package mirror_test

import (
	"fmt"

	"github.com/kbuild/kbuild/mirror"
)

func ExampleParseSource() {
	for _, text := range []string{"registry.example/x/kube-cross", "oci-archive:/srv/kube-cross.tar", "kube-cross"} {
		source, err := mirror.ParseSource(text)
		if err != nil {
			fmt.Println("error:", err)
			continue
		}
		fmt.Println(source, source.IsRegistry())
	}
	// Output:
	// docker://registry.example/x/kube-cross true
	// oci-archive:/srv/kube-cross.tar false
	// error: mirror "kube-cross" names no registry
}

func ExampleParseLock() {
	lock, err := mirror.ParseLock([]byte(`kbuild-lock 1

gcr.io/google_containers/kube-cross:v1.4.2-1 linux/amd64 ` +
		`manifest=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	entry, ok := lock.Entry("gcr.io/google_containers/kube-cross:v1.4.2-1", mirror.Platform{OS: "linux", Architecture: "amd64"})
	fmt.Println(ok, entry.Manifest)
	// Output:
	// true sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
}

func ExampleParseBundleIndex() {
	_, err := mirror.ParseBundleIndex([]byte(`{"version": 1, "kbuild": "v1", "images": [], "members": [
		{"name": "../etc/passwd", "size": 1,
		 "digest": "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}]}`))
	fmt.Println(err)
	// Output:
	// bundle.json: unexpected member "../etc/passwd"
}
