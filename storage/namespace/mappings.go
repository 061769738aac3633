package namespace

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"github.com/containers/storage/pkg/unshare"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Rootless says whether this process works without the rights of real root, in
// a user namespace or not yet in one.
func Rootless() bool { return unshare.IsRootless() }

// IDMappings are the ids a user may have in a user namespace.
type IDMappings struct {
	UID, GID []specs.LinuxIDMapping
	// Single says that there is only the user's own id, mapped to root's: no
	// subordinate ranges, or no newuidmap and newgidmap to use them.
	Single bool
	// Why says what was missing, when Single.
	Why string
}

// Mappings reads the user's subordinate ids from subuid(5) and subgid(5), by
// name and by number: this static binary sees no LDAP or sssd users, whose
// ranges still stand there by number.
func Mappings() IDMappings {
	uid, gid := os.Geteuid(), os.Getegid()
	ids := IDMappings{
		UID: []specs.LinuxIDMapping{{HostID: uint32(uid), Size: 1}},
		GID: []specs.LinuxIDMapping{{HostID: uint32(gid), Size: 1}},
	}
	single := func(why string) IDMappings {
		ids.Single, ids.Why = true, why
		return ids
	}
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			return single(tool + " is not installed")
		}
	}
	name := strconv.Itoa(uid)
	if me, err := user.Current(); err == nil {
		name = me.Username
	}
	uids, gids, err := unshare.GetSubIDMappings(name, name)
	if err != nil || len(uids) == 0 || len(gids) == 0 {
		number := strconv.Itoa(uid)
		uids, gids, err = unshare.GetSubIDMappings(number, number)
	}
	if err != nil || len(uids) == 0 || len(gids) == 0 {
		return single(fmt.Sprintf("/etc/subuid and /etc/subgid hold no ids for %s", name))
	}
	appendTo := func(list, more []specs.LinuxIDMapping) []specs.LinuxIDMapping {
		next := uint32(1)
		for _, m := range more {
			m.ContainerID = next
			next += m.Size
			list = append(list, m)
		}
		return list
	}
	ids.UID, ids.GID = appendTo(ids.UID, uids), appendTo(ids.GID, gids)
	return ids
}

// SingleID says whether only one user id exists in this user namespace.
func SingleID() (bool, error) {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false, fmt.Errorf("read the id mappings: %w", err)
	}
	fields := strings.Fields(string(data))
	return len(fields) == 3 && fields[2] == "1", nil
}
