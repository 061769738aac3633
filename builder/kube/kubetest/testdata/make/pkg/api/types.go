// Package api holds what clients and servers talk about.
package api

type Pod struct {
	Name string
}

type Node struct {
	Name string
}
