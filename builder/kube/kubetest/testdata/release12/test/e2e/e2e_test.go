// Package e2e tests the tree as a whole.
package e2e

import (
	"testing"

	"k8s.io/kubernetes/pkg/kubelet"
)

func TestStatus(t *testing.T) {
	if kubelet.Status() == "" {
		t.Error("the kubelet has nothing to say")
	}
}
