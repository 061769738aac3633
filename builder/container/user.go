package container

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// An account is whom a container's command runs as.
type account struct {
	specs.User
	Home string
}

// accountIn finds the user that an image names, "" being root, by the image's
// own /etc/passwd and /etc/group.
func accountIn(root, name string) (account, error) {
	passwd, err := accounts(root, "/etc/passwd")
	if err != nil {
		return account{}, err
	}
	group, err := accounts(root, "/etc/group")
	if err != nil {
		return account{}, err
	}
	if name == "" {
		name = "0"
	}
	found, err := user.GetExecUser(name, &user.ExecUser{Home: "/"}, passwd, group)
	if err != nil {
		return account{}, fmt.Errorf("the image's user %s: %w", strconv.Quote(name), err)
	}
	if found.Uid < 0 || found.Uid > math.MaxInt32 || found.Gid < 0 || found.Gid > math.MaxInt32 {
		return account{}, fmt.Errorf("the image's user %s: no such id %d:%d", strconv.Quote(name), found.Uid, found.Gid)
	}
	a := account{User: specs.User{UID: uint32(found.Uid), GID: uint32(found.Gid)}, Home: found.Home}
	if a.Home == "" {
		a.Home = "/"
	}
	single, err := namespace.SingleID()
	if err != nil {
		return account{}, err
	}
	if single {
		if a.UID != 0 || a.GID != 0 {
			// There is nobody else here to become.
			a.User = specs.User{}
		}
		return a, nil // nor any group
	}
	a.AdditionalGids = []uint32{a.GID}
	for _, gid := range found.Sgids {
		if gid >= 0 && gid <= math.MaxInt32 && uint32(gid) != a.GID {
			a.AdditionalGids = append(a.AdditionalGids, uint32(gid))
		}
	}
	return a, nil
}

// accounts reads one of the two files; without it nobody has a name.
func accounts(root, name string) (io.Reader, error) {
	data, err := ReadFile(root, name, accountsLimit)
	if err != nil && !missing(err) {
		return nil, err
	}
	return bytes.NewReader(data), nil
}
