package kube

import (
	"regexp"
	"sync"
)

// late compiles an expression when it is first used: a run starts this program
// three times, and most of those need none.
func late(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
