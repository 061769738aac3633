package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
)

// What a host lacks is told with what to do about it.
func TestHostHints(t *testing.T) {
	fatal := func(check, fix string) error {
		return &preflight.Error{Finding: preflight.Finding{Check: check, Severity: preflight.Fatal, Fix: fix}}
	}
	for _, c := range []struct {
		err  error
		want string
		not  string
	}{
		{err: fatal(preflight.UserNamespaces, "sysctl -w x=1"), want: "sysctl -w x=1", not: "--isolation"},
		{err: fatal(preflight.Runtime, "sudo apt-get install runc"), want: "sudo apt-get install runc", not: "--isolation"},
		{err: &preflight.Error{Finding: preflight.Finding{Fix: "sudo apt-get install runc", Chroot: true}},
			want: "sudo apt-get install runc; or --isolation chroot"},
		{err: &preflight.Error{Finding: preflight.Finding{Chroot: true}}, want: "export BUILDAH_ISOLATION=chroot"},
		{err: &container.NoRuntimeError{}, want: "sudo apt-get install runc; or --isolation chroot"},
		{err: &container.NoRuntimeError{Attempts: []container.Attempt{{Runtime: "/x"}}}, want: "--isolation chroot", not: "install"},
		{err: &container.LevelError{Level: "loud"}, want: "debug"},
		{err: &container.SignalError{Signal: syscall.SIGKILL}, want: "dmesg"},
		{err: &container.SignalError{Signal: syscall.SIGTERM}, not: "dmesg"},
		{err: &mirror.OwnerError{Path: "/x", UID: 4294967295, GID: 1}, want: "ignore_chown_errors in containers-storage.conf(5)"},
		{err: &storage.PathError{Path: "/a:b"}, want: "--root"},
		{err: &namespace.TextError{Path: "/x"}, want: "--root DIRECTORY"},
	} {
		got := hintFor(fmt.Errorf("outer: %w", c.err))
		if !strings.Contains(got, c.want) || c.not != "" && strings.Contains(got, c.not) {
			t.Errorf("%T %v: hint %q, want %q in it and not %q", c.err, c.err, got, c.want, c.not)
		}
	}
}
