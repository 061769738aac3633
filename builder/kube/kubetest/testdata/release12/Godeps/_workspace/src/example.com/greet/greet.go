// Package greet stands for somebody else's package that the tree carries.
package greet

// Hello returns a greeting for name.
func Hello(name string) string {
	return "hello from " + name
}
