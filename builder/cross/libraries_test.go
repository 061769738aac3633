package cross

import (
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/opencontainers/go-digest"
)

func TestLibraries(t *testing.T) {
	arm, windows := kube.Platform{OS: "linux", Arch: "arm"}, kube.Platform{OS: "windows", Arch: "amd64"}
	text := Libraries{Platforms: []kube.Platform{arm, windows}}.dockerfile("abc")
	for _, want := range []string{
		"FROM abc\n", "GOOS=linux GOARCH=arm bash make.bash --no-clean\n", "GOOS=windows GOARCH=amd64 bash make.bash --no-clean\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	of := digest.FromString("x")
	one, both := Libraries{Platforms: []kube.Platform{arm}}, Libraries{Platforms: []kube.Platform{arm, windows}}
	if one.Inputs(of) == both.Inputs(of) || one.Inputs(of) == of {
		t.Error("what an image is made from does not tell its platforms")
	}
}
