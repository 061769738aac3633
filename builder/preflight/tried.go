package preflight

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/container"
	"golang.org/x/sys/unix"
)

// TriedRuntimes says what came of trying every way to run a container, kbuild's
// own last.
func (h Host) TriedRuntimes(attempts []container.Attempt) Finding {
	f := Finding{Check: Runtime}
	var failed []string
	works := ""
	for _, a := range attempts[:len(attempts)-1] {
		if a.Answer != "" {
			failed = append(failed, a.Runtime+" starts no container: "+a.Answer)
		} else if works == "" {
			works = a.Runtime
		}
	}
	own := attempts[len(attempts)-1]
	chroot := "chroot isolation works"
	if own.Answer != "" {
		chroot = "chroot isolation does not work: " + own.Answer
	}
	switch {
	case works != "" && h.Isolation != container.IsolationChroot:
		f.Found = strings.Join(append([]string{works + " starts containers"}, failed...), "; ")
		return f
	case h.Isolation == container.IsolationChroot && own.Answer == "":
		f.Found = chroot + ", as asked for"
		return f
	case len(attempts) == 1:
		failed = append(failed, "neither runc nor crun is installed")
		f.Fix = h.install("runc")
	}
	f.Found = strings.Join(append(failed, chroot), "; ")
	f.Severity, f.Chroot = Fatal, own.Answer == ""
	if own.Answer == "" && h.Contained && h.Isolation == "" {
		f.Severity, f.Chroot = Warning, false
		f.Found += ", and separates less"
	}
	return f
}

// TriedOverlay says what came of mounting overlay where the store is.
func (h Host) TriedOverlay(err error) Finding {
	f := Finding{Check: "layers", Found: "are mounted with overlay"}
	if err == nil {
		return f
	}
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EIO) {
		// statfs(2) need not tell: what ext4 does to itself where it finds an error
		// is no flag of the file system's in Linux 6.18.
		f.Severity, f.Found, f.Fix = Fatal, "cannot be written: "+err.Error(), h.root("dmesg")
		return f
	}
	f.Severity = Warning
	why := "the kernel does not mount overlay there (" + err.Error() + ")"
	if errors.Is(err, unix.EINVAL) {
		why += ", as on overlay itself"
	}
	program, errFuse := h.LookPath("fuse-overlayfs")
	switch {
	case errFuse != nil:
		f.Found, f.Fix = why+": layers are copied, which takes time and room", h.install("fuse-overlayfs")
	case h.Access("/dev/fuse", unix.R_OK|unix.W_OK) != nil:
		f.Found = fmt.Sprintf("%s, and %s has no /dev/fuse: layers are copied, which takes time and room",
			why, filepath.Base(program))
	default:
		f.Found = why + ": they are mounted with fuse-overlayfs, which is slower"
	}
	return f
}

// TriedAdditional says what came of reading an additional store, in which there are
// images. One that is harmless does not keep a build from using other stores.
func (h Host) TriedAdditional(dir string, images int, err error, harmless bool) Finding {
	f := Finding{Check: "additional image store " + dir, Found: fmt.Sprintf("can be read, %d images", images)}
	if err == nil {
		return f
	}
	f.Severity, f.Found, f.Fix = Fatal, err.Error(), "man 5 containers-storage.conf # additionalimagestores"
	if harmless {
		f.Severity = Warning
	}
	return f
}
