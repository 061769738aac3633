package shell_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/storage/files"
)

func ExampleVariables_Expand() {
	dir, err := os.MkdirTemp("", "shell-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "VERSION"), []byte("v1.6.3-1\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	tree, err := files.OpenRoot(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tree.Close()
	script := shell.Script{Name: "build/common.sh", Text: `
readonly TAG="$(cat ${KUBE_ROOT}/VERSION)"
readonly REGISTRY="${KUBE_BASE_IMAGE_REGISTRY:-gcr.io/google_containers}"
readonly TODAY=$(date)
`}
	environment := func(string) (string, bool) { return "", false }
	variables := shell.NewVariables(tree, environment, script)
	fmt.Println(variables.Expand(context.Background(), `"${REGISTRY}/kube-cross:${TAG}"`))
	fmt.Println(variables.Expand(context.Background(), `$TODAY`)) // nothing is run
	// Output:
	// gcr.io/google_containers/kube-cross:v1.6.3-1 <nil>
	//  build/common.sh: line 4: TODAY: only a shell can tell what $(date) is
}

func ExampleListReader_Array() {
	script := shell.Script{Name: "hack/lib/golang.sh", Text: `
readonly CLIENTS=(
  cmd/kubectl
)
readonly ALL=(
  cmd/kubelet
  "${CLIENTS[@]}"
)
`}
	fmt.Println(shell.ListReader{}.Array(script, "ALL"))
	// Output:
	// [cmd/kubelet cmd/kubectl] <nil>
}
