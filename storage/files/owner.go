package files

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Owner is whom files belong to: the ids as this process sees them.
type Owner struct{ UID, GID int }

// Self is whom files of kbuild's own belong to.
func Self() Owner { return Owner{os.Geteuid(), os.Getegid()} }

// OwnerOf is the owner of a directory. Inside a user namespace that is root,
// who is the user outside.
func OwnerOf(dir string) (Owner, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return Owner{}, fmt.Errorf("owner of %s: %w", dir, err)
	}
	return Owner{int(st.Uid), int(st.Gid)}, nil
}
