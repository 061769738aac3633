package container

import (
	"errors"
	"testing"
)

func TestShortError(t *testing.T) {
	cause := errors.New(`building at STEP "ADD x": {lots:of:struct} copier: put: error writing: no space left on device`)
	if got := ShortError(cause); got.Error() != "put: error writing: no space left on device" || !errors.Is(got, cause) {
		t.Errorf("%v", got)
	}
	plain := errors.New("plain")
	if got := ShortError(plain); got != plain {
		t.Errorf("%v", got)
	}
}

func TestLastLines(t *testing.T) {
	if got := LastLines("a\nb\nc\n", 2); got != "\n    b\n    c" {
		t.Errorf("%q", got)
	}
	if got := LastLines(" \n", 2); got != "" {
		t.Errorf("%q", got)
	}
}
