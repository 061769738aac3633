// Package kubectl is what kubectl does.
package kubectl

import (
	"example.com/greet"
)

// Greet returns the answer to "kubectl greet".
func Greet() string {
	return greet.Hello("kubectl")
}
