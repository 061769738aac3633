package preflight

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// idFiles are where ranges of subordinate ids stand, see subuid(5).
var idFiles = []string{"/etc/subuid", "/etc/subgid"}

// idRange is an entry of such a file.
type idRange struct {
	who          string // a name or a number
	first, count uint64
}

func (r idRange) end() uint64 { return r.first + r.count }

// readRanges reads a file of ranges; what is no entry is left out, as the tools
// do.
func readRanges(data []byte) []idRange {
	var list []idRange
	for line := range bytes.Lines(data) {
		fields := strings.Split(strings.TrimSpace(string(line)), ":")
		if len(fields) != 3 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		first, errFirst := strconv.ParseUint(fields[1], 10, 32)
		count, errCount := strconv.ParseUint(fields[2], 10, 32)
		if errFirst == nil && errCount == nil && count > 0 {
			list = append(list, idRange{fields[0], first, count})
		}
	}
	return list
}

const (
	firstRange  = 100_000 // SUB_UID_MIN of login.defs(5)
	rangeLength = 65_536  // what useradd(8) gives
)

// freeRange is the first range of so many ids that no user has, in words for
// usermod(8), or "" where there is none; read reads a file.
func freeRange(read func(string) ([]byte, error), count uint64) string {
	var taken []idRange
	for _, file := range idFiles {
		if data, err := read(file); err == nil {
			taken = append(taken, readRanges(data)...)
		}
	}
	slices.SortFunc(taken, func(a, b idRange) int { return int(int64(a.first) - int64(b.first)) })
	first := uint64(firstRange)
	for _, r := range taken {
		if r.end() > first && r.first < first+count {
			first = r.end()
		}
	}
	if first+count > math.MaxUint32 {
		return ""
	}
	return fmt.Sprintf("%d-%d", first, first+count-1)
}

// MoreIDs is the command that gives a user more ids, so that the greatest of
// them exists in a container, or "" where there are not so many.
func MoreIDs(read func(string) ([]byte, error), user string, greatest, has uint64) string {
	missing := greatest + 1 - min(has, greatest)
	missing = (missing + rangeLength - 1) / rangeLength * rangeLength
	if command := addIDs(read, user, missing); command != "" {
		return "sudo " + command
	}
	return ""
}

// addIDs is root's command that gives a user so many more ids, or "" where there
// are not so many.
func addIDs(read func(string) ([]byte, error), user string, count uint64) string {
	free := freeRange(read, count)
	if free == "" {
		return ""
	}
	return fmt.Sprintf("usermod --add-subuids %s --add-subgids %s %s", free, free, user)
}
