package builder

import (
	"bytes"
	"io"
	"regexp"
	"sync"
)

// A complaint lets a command's output through and keeps the first thing that the
// compiler says in it, such as "pkg/api/types.go:12:3: undefined: x". The
// user wants to read that, and it is rarely the last line.
type complaint struct {
	io.Writer
	line []byte // so far, without its end
	text string
}

// compilerSays is the form of cmd/compile, in use since Go 1.0. The column came
// with Go 1.11.
var compilerSays = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[^\s:]+\.go:\d+(:\d+)?: .+`)
})

// longestComplaint is how much of a line is kept, in bytes.
const longestComplaint = 200

// Write implements [io.Writer].
func (c *complaint) Write(p []byte) (int, error) {
	for rest := p; c.text == "" && len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		c.line = append(c.line, line[:min(len(line), longestComplaint-len(c.line))]...)
		if ended {
			c.text = string(compilerSays().Find(c.line))
			c.line = c.line[:0]
		}
		rest = after
	}
	return c.Writer.Write(p)
}
