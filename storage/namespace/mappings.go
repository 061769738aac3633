package namespace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/containers/storage/pkg/unshare"
	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
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
	// Direct says that this process writes the mappings itself.
	Direct bool
}

// Mappings are the ids for the worker's user namespace. Root of a container
// that may set ids has every id the container has. Others have what subuid(5)
// and subgid(5) give them, by name and by number: this static binary sees no
// LDAP or sssd users, whose ranges still stand there by number.
func Mappings() IDMappings {
	uid, gid := os.Geteuid(), os.Getegid()
	ids := IDMappings{
		UID: []specs.LinuxIDMapping{{HostID: uint32(uid), Size: 1}},
		GID: []specs.LinuxIDMapping{{HostID: uint32(gid), Size: 1}},
	}
	if uid == 0 {
		if own, ok := ownMappings(); ok {
			return own
		}
	}
	single := func(why string) IDMappings {
		ids.Single, ids.Why, ids.Direct = true, why, true
		return ids
	}
	for _, tool := range mapTools {
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

var mapTools = []string{"newuidmap", "newgidmap"}

// ownMappings maps every id that exists in this process's user namespace to
// itself. That takes the rights to set ids and, since Linux 5.12, for id 0
// CAP_SETFCAP, see user_namespaces(7); a container's root ordinarily has all.
func ownMappings() (IDMappings, bool) {
	has, err := effective()
	if err != nil || !has(capability.CAP_SETUID) || !has(capability.CAP_SETGID) {
		return IDMappings{}, false
	}
	uids, err := readMap("uid_map")
	if err != nil {
		return IDMappings{}, false
	}
	gids, err := readMap("gid_map")
	if err != nil {
		return IDMappings{}, false
	}
	for _, list := range [][]specs.LinuxIDMapping{uids, gids} {
		for i := range list {
			list[i].HostID = list[i].ContainerID
		}
	}
	ids := IDMappings{UID: uids, GID: gids, Direct: true}
	if count(uids) == 1 || count(gids) == 1 {
		ids.Single, ids.Why = true, "the container around kbuild has one id"
	}
	return ids, true
}

func count(list []specs.LinuxIDMapping) uint64 {
	n := uint64(0)
	for _, m := range list {
		n += uint64(m.Size)
	}
	return n
}

// readMap reads a mapping of this process, uid_map or gid_map, see
// user_namespaces(7).
func readMap(name string) ([]specs.LinuxIDMapping, error) {
	data, err := os.ReadFile(filepath.Join("/proc/self", name))
	if err != nil {
		return nil, fmt.Errorf("read the id mappings: %w", err)
	}
	return parseMap(data)
}

func parseMap(data []byte) ([]specs.LinuxIDMapping, error) {
	var list []specs.LinuxIDMapping
	for line := range bytes.Lines(data) {
		var m specs.LinuxIDMapping
		if _, err := fmt.Sscan(string(line), &m.ContainerID, &m.HostID, &m.Size); err != nil {
			return nil, fmt.Errorf("read the id mappings: %q: %w", line, err)
		}
		list = append(list, m)
	}
	return list, nil
}

// SingleID says whether only one user id, or only one group id, exists in this
// user namespace.
func SingleID() (bool, error) {
	for _, name := range []string{"uid_map", "gid_map"} {
		list, err := readMap(name)
		if err != nil {
			return false, err
		}
		if count(list) == 1 {
			return true, nil
		}
	}
	return false, nil
}

// IDs is how many user ids exist in this user namespace.
func IDs() (uint64, error) {
	list, err := readMap("uid_map")
	return count(list), err
}

// UserID is the user id of who started kbuild, in the worker, too.
func UserID() int { return unshare.GetRootlessUID() }

// fewer says why a process in a new user namespace has fewer ids than it was to
// have, or "" when it has them: the library falls back to one id, without a
// word, where newuidmap or newgidmap fails.
func fewer(pid int, ids IDMappings) string {
	if ids.Direct {
		return ""
	}
	for _, m := range []struct {
		name string
		want []specs.LinuxIDMapping
	}{{"uid_map", ids.UID}, {"gid_map", ids.GID}} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, m.name))
		if err != nil {
			continue
		}
		if have, err := parseMap(data); err == nil && count(have) < count(m.want) {
			if err := TryMappings(ids); err != nil {
				return err.Error()
			}
			return "new" + strings.TrimSuffix(m.name, "_map") + "map failed"
		}
	}
	return ""
}

// TryMappings makes a user namespace with these ids, as the worker's is made,
// and says in its error what newuidmap or newgidmap answered and why that is.
func TryMappings(ids IDMappings) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{idleName}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make a user namespace: %w", err)
	}
	defer func() {
		stdin.Close()
		cmd.Wait() //nolint:errcheck // it does nothing
	}()
	for i, list := range [][]specs.LinuxIDMapping{ids.UID, ids.GID} {
		args := []string{strconv.Itoa(cmd.Process.Pid)}
		for _, m := range list {
			args = append(args, fmt.Sprint(m.ContainerID), fmt.Sprint(m.HostID), fmt.Sprint(m.Size))
		}
		tool := mapTools[i]
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			said := strings.TrimSpace(string(out))
			if said == "" {
				said = err.Error()
			}
			e := &MapError{Tool: tool, Said: said}
			e.find(list)
			return e
		}
	}
	return nil
}

// idle is a process that lives while somebody holds its standard input.
func idle() int {
	io.Copy(io.Discard, os.Stdin) //nolint:errcheck // the end is what counts
	return 0
}

// MapError says that newuidmap or newgidmap does not give a user its
// subordinate ids.
type MapError struct {
	Tool, Said string
	// Cause is why, "" that it was not found.
	Cause string
	// NoNewPrivileges says that the cause is no_new_privs, with which no program
	// gets rights from its file.
	NoNewPrivileges bool
	// Capability is what the file at Path serves with, in the words of setcap(8):
	// that it has no such capability is the cause.
	Capability, Path string
}

func (e *MapError) Error() string {
	text := e.Tool + " does not work: " + strings.TrimPrefix(e.Said, e.Tool+": ")
	cause := e.Cause
	if e.Capability != "" {
		cause += "; file capabilities serve: setcap " + e.Capability + " " + e.Path
	}
	if cause != "" {
		text += " (" + cause + ")"
	}
	return text
}

// find finds why the tool was refused when it was to map these ids.
func (e *MapError) find(list []specs.LinuxIDMapping) {
	if e.Cause = outsideOf(list); e.Cause != "" {
		return
	}
	path, err := exec.LookPath(e.Tool)
	if err != nil {
		return
	}
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && set == 1 {
		e.NoNewPrivileges = true
		e.Cause = "no_new_privs is set, as by allowPrivilegeEscalation: false, so that it gets no rights"
		return
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err == nil && st.Flags&unix.ST_NOSUID != 0 {
		e.Cause = path + " lies on a file system mounted nosuid, so that it gets no rights"
		return
	}
	e.findRights(path)
}

// findRights finds which rights the tool at a path lacks.
func (e *MapError) findRights(path string) {
	want := map[string]capability.Cap{"newuidmap": capability.CAP_SETUID, "newgidmap": capability.CAP_SETGID}[e.Tool]
	mode, byFile := os.FileMode(0), false
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode()
	}
	if caps, err := capability.NewFile2(path); err == nil && caps.Load() == nil {
		byFile = caps.Get(capability.PERMITTED, want)
	}
	bounds, err := capability.NewPid2(0)
	if err != nil || bounds.Load() != nil {
		return
	}
	switch {
	case !bounds.Get(capability.BOUNDING, want):
		e.Cause = fmt.Sprintf("the container around kbuild does not have the capability %s", strings.ToUpper(want.String()))
		return
	case byFile:
		return
	case mode&os.ModeSetuid == 0:
		e.Cause = path + " is neither setuid nor has capabilities"
	case !bounds.Get(capability.BOUNDING, capability.CAP_SYS_ADMIN):
		// The kernel asks the writer of a mapping for CAP_SYS_ADMIN over the new
		// namespace, which its owner has, and root of a container has not.
		e.Cause = "setuid does not serve in a container without CAP_SYS_ADMIN"
	default:
		return
	}
	e.Capability, e.Path = fmt.Sprintf("cap_%s+ep", want), path
}

// outsideOf says which ids do not exist in this process's own user namespace,
// where that is one of a container.
func outsideOf(list []specs.LinuxIDMapping) string {
	own, err := readMap("uid_map")
	if err != nil {
		return ""
	}
	for _, m := range list {
		inside := false
		for _, o := range own {
			inside = inside || m.HostID >= o.ContainerID &&
				uint64(m.HostID)+uint64(m.Size) <= uint64(o.ContainerID)+uint64(o.Size)
		}
		if !inside {
			return fmt.Sprintf("the ids %d to %d do not exist in the container around kbuild",
				m.HostID, uint64(m.HostID)+uint64(m.Size)-1)
		}
	}
	return ""
}

// Unmappable says why root cannot enter a user namespace at all, or nil.
func Unmappable() error {
	if os.Geteuid() != 0 {
		return nil
	}
	has, err := effective()
	if err != nil {
		return err
	}
	if !has(capability.CAP_SETFCAP) {
		return errors.New("root without the capability SETFCAP may not map its own id")
	}
	return nil
}
