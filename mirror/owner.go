package mirror

import (
	"fmt"
	"regexp"
	"strconv"
	"sync"
)

// An OwnerError says that a file of an image belongs to ids that do not exist
// in the user namespace.
type OwnerError struct {
	own
	Path     string
	UID, GID uint64
	cause    error
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("%s in the image belongs to %d:%d, ids that this user does not have", e.Path, e.UID, e.GID)
}

// Unwrap returns what the process that unpacks said.
func (e *OwnerError) Unwrap() error { return e.cause }

// noOwner is what containers/storage says of such a file, see checkChownErr in
// its pkg/idtools; the error of the process that unpacks is text alone.
var noOwner = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`insufficient UIDs or GIDs available in (?:the )?user namespace ` +
		`\(requested (\d+):(\d+) for (.+?)\):`)
})

// owned makes an OwnerError of an error that says so; any other is returned as
// it is.
func owned(err error) error {
	if err == nil {
		return nil
	}
	m := noOwner().FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	uid, errUID := strconv.ParseUint(m[1], 10, 32)
	gid, errGID := strconv.ParseUint(m[2], 10, 32)
	if errUID != nil || errGID != nil {
		return err
	}
	return &OwnerError{Path: m[3], UID: uid, GID: gid, cause: err}
}
