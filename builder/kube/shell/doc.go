// Package shell reads bash: the few shapes in which Kubernetes' scripts define
// variables, lists, functions and the options of a container. It never runs a
// script and never guesses: anything else is an error that names the line.
package shell
