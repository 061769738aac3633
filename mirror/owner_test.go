package mirror

import (
	"errors"
	"fmt"
	"testing"
)

func TestOwned(t *testing.T) {
	const said = `unpacking failed (error: exit status 1; output: potentially insufficient UIDs or GIDs ` +
		`available in user namespace (requested 478493:89939 for /usr/local/src/etcd): ` +
		`Check /etc/subuid and /etc/subgid: lchown /usr/local/src/etcd: invalid argument)`
	var e *OwnerError
	err := owned(fmt.Errorf("adding layer: %w", errors.New(said)))
	if !errors.As(err, &e) || e.Path != "/usr/local/src/etcd" || e.UID != 478493 || e.GID != 89939 {
		t.Errorf("%v", err)
	}
	other := errors.New("something else")
	if got := owned(other); got != other || owned(nil) != nil { //nolint:errorlint // the very error
		t.Error("a different error is changed")
	}
}
