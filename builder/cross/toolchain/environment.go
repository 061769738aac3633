package toolchain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// defaults of the go command, see go help environment.
var defaults = map[string]string{
	"GOPROXY": "https://proxy.golang.org,direct",
	"GOSUMDB": "sum.golang.org",
}

// readEnvironment returns what the go command would have for a variable: from
// the environment, else from the file that GOENV names (go help env), else the
// default.
func readEnvironment(getenv func(string) string) (func(string) string, error) {
	if getenv == nil {
		getenv = os.Getenv
	}
	file := map[string]string{}
	name := getenv("GOENV")
	if name == "" {
		if dir, err := os.UserConfigDir(); err == nil {
			name = filepath.Join(dir, "go", "env")
		}
	}
	if name != "" && name != "off" {
		text, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the go command's environment: %w", err)
		}
		file = parseEnvironment(string(text))
	}
	return func(variable string) string {
		for _, v := range []string{getenv(variable), file[variable]} {
			if v != "" {
				return v
			}
		}
		return defaults[variable]
	}, nil
}

// parseEnvironment reads lines of NAME=value; others are comments.
func parseEnvironment(text string) map[string]string {
	values := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && name != "" && name[0] != '#' {
			values[name] = value
		}
	}
	return values
}
