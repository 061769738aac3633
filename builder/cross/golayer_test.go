package cross

import (
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube/golang"
)

func TestGoEnvironment(t *testing.T) {
	for version, want := range map[string]string{
		"go1.4.3": "CC=gcc -no-pie -fno-pie -Wa,-mrelax-relocations=no", "go1.15.15": "", "go1.24.1": "GOTOOLCHAIN=local",
	} {
		v, _ := golang.ParseVersion(version)
		env := goEnvironment(v, "amd64", false)
		got := strings.Join(env[3:], " ")
		if got != want || env[2] != "GOLANG_VERSION="+v.String() {
			t.Errorf("%s: %q", version, env)
		}
	}
}
