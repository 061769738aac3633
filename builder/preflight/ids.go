package preflight

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/kbuild/kbuild/storage/namespace"
)

// account is the name of who runs this process, or the number.
func account() string {
	if me, err := user.Current(); err == nil && me.Username != "" {
		return me.Username
	}
	return strconv.Itoa(os.Geteuid())
}

const oneID = ", so there is only one id: files of other owners in images become yours"

func subordinateIDs(h Host) (Severity, string, string) {
	if !h.Rootless || h.UID == 0 {
		return Fine, "not needed as root", ""
	}
	ids := h.Mappings()
	if ids.Single {
		return Warning, ids.Why + oneID, h.moreIDs()
	}
	return Fine, fmt.Sprintf("%d ids", has(ids)-1), ""
}

// has counts the user ids of a mapping.
func has(ids namespace.IDMappings) uint64 {
	count := uint64(0)
	for _, m := range ids.UID {
		count += uint64(m.Size)
	}
	return count
}

// moreIDs is the command that gives the user ids, where he has none.
func (h Host) moreIDs() string {
	var commands []string
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := h.LookPath(tool); err != nil {
			commands = append(commands, h.install("uidmap"))
			break
		}
	}
	if len(ownRanges(h)) == 0 {
		commands = append(commands, h.addIDs()...)
	}
	return strings.Join(commands, " && ")
}

// addIDs is the command that gives the user a range that nobody has, or none
// where there is no such range.
func (h Host) addIDs() []string {
	command := addIDs(h.ReadFile, h.Account, rangeLength)
	if command == "" {
		return nil
	}
	return []string{h.root(command)}
}

// ownRanges are the user's entries of both files, by name and by number.
func ownRanges(h Host) []idRange {
	var own []idRange
	for _, file := range idFiles {
		data, err := h.ReadFile(file)
		if err != nil {
			return nil
		}
		before := len(own)
		for _, r := range readRanges(data) {
			if h.owns(r) {
				own = append(own, r)
			}
		}
		if len(own) == before {
			return nil // one without the other is none
		}
	}
	return own
}

func (h Host) owns(r idRange) bool { return r.who == h.Account || r.who == strconv.Itoa(h.UID) }

// triedIDs is subordinateIDs by trial: the tools are there, and a process gets
// the ids, and nobody else has them.
func triedIDs(h Host) (Severity, string, string) {
	severity, found, fix := subordinateIDs(h)
	if severity != Fine || !h.Rootless || h.UID == 0 {
		return severity, found, fix
	}
	ids := h.Mappings()
	if h.UserNS() != nil {
		return Fine, found + ", not tried", ""
	}
	if err := h.TryMappings(ids); err != nil {
		return Warning, err.Error() + oneID, h.mapFix(err)
	}
	if other := h.overlap(); other != "" {
		return Warning, "the ids are " + other + "'s, too: each can write the files of the other's containers",
			strings.Join(append([]string{h.delOverlap()}, h.addIDs()...), " && ")
	}
	if count := has(ids) - 1; count < rangeLength {
		return Warning, fmt.Sprintf("%d ids: images with files of others cannot be unpacked", count),
			strings.Join(h.addIDs(), "")
	}
	return Fine, found, ""
}

// mapFix is the command that makes newuidmap or newgidmap work.
func (h Host) mapFix(err error) string {
	var refused *namespace.MapError
	switch {
	case !errors.As(err, &refused):
		return ""
	case refused.NoNewPrivileges:
		return "allowPrivilegeEscalation: true, in the securityContext of the pod; " +
			"docker and podman: no --security-opt no-new-privileges"
	case refused.Capability != "":
		return h.root("setcap " + refused.Capability + " " + refused.Path)
	}
	return ""
}

// delOverlap takes the user's ranges away from him.
func (h Host) delOverlap() string {
	command := "usermod"
	for i, option := range []string{"--del-subuids", "--del-subgids"} {
		data, err := h.ReadFile(idFiles[i])
		if err != nil {
			continue
		}
		for _, r := range readRanges(data) {
			if h.owns(r) {
				command += fmt.Sprintf(" %s %d-%d", option, r.first, r.end()-1)
			}
		}
	}
	return h.root(command + " " + h.Account)
}

// overlap is another user who has one of this user's ids, or "".
func (h Host) overlap() string {
	for _, file := range idFiles {
		data, err := h.ReadFile(file)
		if err != nil {
			continue
		}
		all := readRanges(data)
		for _, mine := range all {
			for _, other := range all {
				if h.owns(mine) && !h.owns(other) && mine.first < other.end() && other.first < mine.end() {
					return other.who
				}
			}
		}
	}
	return ""
}
