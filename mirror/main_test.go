package mirror_test

import (
	"os"
	"testing"

	"github.com/kbuild/kbuild/storage/storagetest"
)

func TestMain(m *testing.M) {
	// 0.0.0.0 stands for a host that is not on loopback by its name; a proxy of
	// the environment would be asked for it.
	os.Setenv("NO_PROXY", "0.0.0.0")
	storagetest.Main(m)
}
