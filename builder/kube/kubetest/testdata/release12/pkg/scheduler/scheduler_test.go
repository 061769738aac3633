package scheduler

import "testing"

func TestPick(t *testing.T) {
	if got := Pick(map[string]int{"a": 2, "b": 1, "c": 1}); got != "b" {
		t.Errorf("Pick chose %q, want b", got)
	}
}
