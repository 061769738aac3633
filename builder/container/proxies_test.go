package container

import (
	"os"
	"testing"

	containersconf "github.com/containers/common/pkg/config"
)

// A stranger's Dockerfile is not given the proxies of the user's environment,
// which may have his password, but those that the caller says.
func TestSetProxies(t *testing.T) {
	const secret = "http://me:s3cr3t@proxy.example:3128"
	for _, name := range containersconf.ProxyEnv {
		t.Setenv(name, secret)
	}
	if err := os.Unsetenv("FTP_PROXY"); err != nil {
		t.Fatal(err)
	}
	restore, err := setProxies([]string{"http_proxy=http://proxy.example:3128"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range containersconf.ProxyEnv {
		want := ""
		if name == "http_proxy" {
			want = "http://proxy.example:3128"
		}
		if got := os.Getenv(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	for _, name := range containersconf.ProxyEnv {
		if got, set := os.LookupEnv(name); set != (name != "FTP_PROXY") || set && got != secret {
			t.Errorf("afterwards %s is %q, %t", name, got, set)
		}
	}
}
