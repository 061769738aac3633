package storage

import (
	"errors"
	"testing"
)

func TestCheckPath(t *testing.T) {
	for dir, ok := range map[string]bool{
		"/a b": true, `/a"b`: true, "/a=b#c%": true, "/@été": true,
		"/a:b": false, "/a,b": false, `/a\b`: false, "/[x]": false, "/a*": false, "/a?": false, "/a\xe4": false,
	} {
		var bad *PathError
		if err := checkPath(dir, ""); errors.As(err, &bad) == ok {
			t.Errorf("%q: %v", dir, err)
		}
	}
	if err := checkPath("/a:b", "vfs"); err != nil {
		t.Errorf("vfs: %v", err)
	}
}
