package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/kube/kubetest"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A pod is a container as container runtimes and Kubernetes make them for a CI
// job, made with runc: it has this host's programs, a small tree, an image, and
// no rights that its maker did not give it.
type pod struct {
	uid     int
	caps    []string // the bounding set, and root's own; nil is Docker's default
	seccomp bool     // what Kubernetes calls RuntimeDefault
	noNew   bool     // allowPrivilegeEscalation: false
	procs   bool     // procMount: Unmasked
	subids  string   // of the user ci, "" for none
	// before runs as real root in the pod's root directory, ahead of the pod.
	before func(t *testing.T, root string)
	path   string // of directories ahead of the others in PATH
	// mounts are more of them; work is what the pod has as /job.
	mounts func(work string) []specs.Mount
}

// dockerCaps are a container's capabilities in Docker and containerd.
var dockerCaps = strings.Fields(`CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_MKNOD CAP_NET_RAW CAP_SETGID CAP_SETUID
	CAP_SETFCAP CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL CAP_AUDIT_WRITE`)

// runtimeDefault is the part of Docker's filter that matters here: what makes
// namespaces or mounts takes CAP_SYS_ADMIN, which nobody in it has.
func runtimeDefault() *specs.LinuxSeccomp {
	errno := func(n unix.Errno) *uint { u := uint(n); return &u }
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls: []specs.LinuxSyscall{
			{
				Names:  strings.Fields("unshare mount umount2 pivot_root setns move_mount open_tree fsopen fsmount mount_setattr keyctl add_key request_key"),
				Action: specs.ActErrno, ErrnoRet: errno(unix.EPERM),
			},
			{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: errno(unix.ENOSYS)},
			{
				Names: []string{"clone"}, Action: specs.ActErrno, ErrnoRet: errno(unix.EPERM),
				Args: []specs.LinuxSeccompArg{{Index: 0, Value: unix.CLONE_NEWUSER, ValueTwo: unix.CLONE_NEWUSER, Op: specs.OpMaskedEqual}},
			},
		},
	}
}

// spec is the pod's configuration, as Docker writes it.
func (p pod) spec(root string, mounts []specs.Mount, command []string) *specs.Spec {
	caps := p.caps
	if caps == nil {
		caps = dockerCaps
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if p.path != "" {
		path = p.path + ":" + path
	}
	spec := &specs.Spec{
		Version: "1.0.2", Hostname: "pod", Root: &specs.Root{Path: root},
		Process: &specs.Process{
			Args: command, Cwd: "/job/k", User: specs.User{UID: uint32(p.uid), GID: uint32(p.uid)}, NoNewPrivileges: p.noNew,
			Env:          []string{"PATH=" + path, "HOME=/home/ci", "GIT_CONFIG_NOSYSTEM=1"},
			Capabilities: &specs.LinuxCapabilities{Bounding: caps},
		},
		Mounts: append([]specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777"}},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/usr", Type: "bind", Source: "/usr", Options: []string{"rbind", "ro"}},
		}, mounts...),
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace}, {Type: specs.NetworkNamespace},
			},
			MaskedPaths: strings.Fields(`/proc/asound /proc/acpi /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list
				/proc/timer_stats /proc/sched_debug /proc/scsi /sys/firmware`),
			ReadonlyPaths: strings.Fields("/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger"),
		},
	}
	if p.procs {
		spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = nil, nil
	}
	if p.uid == 0 {
		spec.Process.Capabilities.Permitted, spec.Process.Capabilities.Effective = caps, caps
	}
	if p.seccomp {
		spec.Linux.Seccomp = runtimeDefault()
	}
	return spec
}

// podTree writes a small tree whose program says what ids its compile saw, and
// the image for it, into a directory.
func podTree(t *testing.T, w *world, dir string, uid int) {
	t.Helper()
	tree := filepath.Join(dir, "k")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := kubetest.Release12(tree, "v1.4.2-1"); err != nil {
		t.Fatal(err)
	}
	filestest.Write(t, filepath.Join(tree, "hack/build-go.sh"), `#!/bin/bash
set -e
out=_output/dockerized/bin/linux/amd64; mkdir -p $out
while read -r line; do echo uid_map $line; done </proc/self/uid_map >$out/kubelet
chmod 755 $out/kubelet
`)
	if err := kubetest.Commit(context.Background(), tree, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	if err := pack("oci", filepath.Join(dir, "oci"), w.small); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chown", "-R", fmt.Sprintf("%d:%d", uid, uid), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// run runs a script of bash in the pod and returns what it printed and its exit
// status. In it kbuild is this test, and /job holds the tree k and the image.
func (p pod) run(t *testing.T, w *world, script string) (work, output string, status int) {
	t.Helper()
	runc := slices.DeleteFunc(container.FindRuntimes(), func(file string) bool { return filepath.Base(file) != "runc" })
	if len(runc) == 0 {
		t.Fatal("runc is not installed, which makes the pod")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	work = filepath.Join(dir, "work")
	for _, d := range []string{"usr", "etc", "proc", "sys", "dev", "run", "work"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"tmp", "var/tmp", "home/ci"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(root, d), 0o1777); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "lib", "lib64", "sbin"} {
		if err := os.Symlink("usr/"+d, filepath.Join(root, d)); err != nil {
			t.Fatal(err)
		}
	}
	filestest.Write(t, filepath.Join(root, "etc/passwd"), "root:x:0:0::/home/ci:/bin/bash\nci:x:1000:1000::/home/ci:/bin/bash\n")
	filestest.Write(t, filepath.Join(root, "etc/group"), "root:x:0:\nci:x:1000:\n")
	if p.subids != "" {
		filestest.Write(t, filepath.Join(root, "etc/subuid"), "ci:"+p.subids+"\n")
		filestest.Write(t, filepath.Join(root, "etc/subgid"), "ci:"+p.subids+"\n")
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	podTree(t, w, work, p.uid)
	if p.before != nil {
		p.before(t, root)
	}
	mounts := []specs.Mount{
		{Destination: "/job", Type: "bind", Source: work, Options: []string{"bind", "rw"}},
		{Destination: "/kbuild", Type: "bind", Source: self, Options: []string{"bind", "ro"}},
	}
	if p.mounts != nil {
		mounts = append(mounts, p.mounts(work)...)
	}
	config, err := json.Marshal(p.spec(root, mounts, []string{"bash", "-c", "kbuild() { /kbuild \"$@\"; }; " + script}))
	if err != nil {
		t.Fatal(err)
	}
	filestest.Write(t, filepath.Join(dir, "config.json"), string(config))
	id := "kbuild-test-" + strings.ToLower(rand.Text())
	state := filepath.Join(dir, "state")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, runc[0], "--root", state, "run", "--bundle", dir, id)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		exec.Command(runc[0], "--root", state, "delete", "--force", id).Run() //nolint:errcheck // the test fails
		t.Fatalf("the pod did not end: %s", out)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("%s", out)
	return work, string(out), cmd.ProcessState.ExitCode()
}
