// Package kubelet is what the kubelet does.
package kubelet

import (
	"example.com/greet"
)

// Message is what the kubelet has to say.
const Message = "no pods yet"

// Status returns a line about the node.
func Status() string {
	return greet.Hello("kubelet") + ": " + Message
}
