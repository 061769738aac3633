package builder

import (
	"testing"

	"github.com/kbuild/kbuild/storage/storagetest"
)

func TestMain(m *testing.M) { storagetest.Main(m) }
