package container

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestSetLogging(t *testing.T) {
	t.Cleanup(func() {
		if err := SetLogging("error", os.Stderr); err != nil {
			t.Error(err)
		}
	})
	var log strings.Builder
	for level, said := range map[string]string{"error": "", "info": "i", "debug": "d", "trace": "d"} {
		log.Reset()
		if err := SetLogging(level, &log); err != nil {
			t.Fatal(err)
		}
		logger().Info("marker-i")
		logger().Debug("marker-d")
		if strings.Contains(log.String(), "marker-i") != (said != "") || strings.Contains(log.String(), "marker-d") != (said == "d") {
			t.Errorf("%s says %q", level, log.String())
		}
	}
	var unknown *LevelError
	if err := SetLogging("loud", &log); !errors.As(err, &unknown) || unknown.Level != "loud" {
		t.Errorf("%v", err)
	}
}
