package builder

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// shim stands between buildah and the OCI runtime. While a container runs,
// buildah asks the runtime for its state ten times a second, and each answer
// costs a start of the runtime: as much as a tenth of two processors, which the
// compiler lacks. All that buildah wants to know is whether the container is
// there still; it asks in the bundle's directory, where the file "pid" holds
// the number of its first process. As long as that process is there, the shim
// answers. Whatever else is asked goes to the runtime itself.
const shim = `#!/bin/sh
if [ "$3" = state ] && [ -f pid ]; then # after --root and its directory
	read -r pid <pid || : # it does not end with a newline
	case $pid in
	'' | *[!0-9]*) ;;
	*) kill -0 "$pid" 2>/dev/null && echo '{"status":"running"}' && exit ;;
	esac
fi
exec %s "$@"
`

// runtimeProgram is what buildah is given as the runtime; "" for chroot.
func (h Host) runtimeProgram() (string, error) {
	if h.Runtime == "" {
		return "", nil
	}
	// Of the runtime's own name, for messages.
	file := filepath.Join(h.Dir, filepath.Base(h.Runtime))
	quoted := "'" + strings.ReplaceAll(h.Runtime, "'", `'\''`) + "'"
	err := writeWhole(file, 0o700, self(), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, shim, quoted)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("prepare the runtime: %w", err)
	}
	return file, nil
}
