package chroot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A terminal joins the user's terminal and the container's: the user's is never
// the container's to have.
type terminal struct {
	local, remote *os.File // a pair of sockets over which the container's end comes
	master        *os.File // of the container's terminal
	before        *unix.Termios
	done          chan struct{}
}

func openTerminal() (*terminal, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	return &terminal{
		local: os.NewFile(uintptr(pair[0]), "console"), remote: os.NewFile(uintptr(pair[1]), "console"),
		done: make(chan struct{}),
	}, nil
}

// connect gets the other end of the container's terminal and passes on what is
// typed and what is written.
func (t *terminal) connect() error {
	buffer := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(t.local.Fd()), make([]byte, 1), buffer, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return fmt.Errorf("get the container's terminal: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(buffer[:n])
	if err != nil || len(messages) != 1 {
		return errors.New("get the container's terminal: none came")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return errors.New("get the container's terminal: none came")
	}
	t.master = os.NewFile(uintptr(fds[0]), "terminal")
	t.resize()
	if before, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		t.before = before
		raw := *before
		// See cfmakeraw(3).
		raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		raw.Oflag &^= unix.OPOST
		raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		raw.Cflag &^= unix.CSIZE | unix.PARENB
		raw.Cflag |= unix.CS8
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		if err := unix.IoctlSetTermios(0, unix.TCSETS, &raw); err != nil {
			return fmt.Errorf("set the terminal: %w", err)
		}
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	go func() {
		for range changed {
			t.resize()
		}
	}()
	go io.Copy(t.master, os.Stdin) //nolint:errcheck // it ends with the container
	go func() {
		defer close(t.done)
		io.Copy(os.Stdout, t.master) //nolint:errcheck // EIO is the end of a terminal
	}()
	return nil
}

func (t *terminal) resize() {
	if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, size) //nolint:errcheck // it keeps its size
	}
}

// drain waits for the last output. The container has ended, so nothing more
// is written.
func (t *terminal) drain() {
	select {
	case <-t.done:
	case <-time.After(time.Second):
	}
}

func (t *terminal) close() {
	if t.before != nil {
		unix.IoctlSetTermios(0, unix.TCSETS, t.before) //nolint:errcheck // there is nobody to tell
	}
	for _, f := range []*os.File{t.local, t.remote, t.master} {
		if f != nil {
			f.Close()
		}
	}
}

// takeTerminal makes a terminal of the container's own that of this process,
// which leads a session, and hands its other end over.
func takeTerminal(console *os.File, user specs.User) error {
	master, err := os.OpenFile("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a terminal: %w", err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlock a terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return fmt.Errorf("name a terminal: %w", err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a terminal: %w", err)
	}
	defer slave.Close()
	if err := slave.Chown(int(user.UID), -1); err != nil {
		return fmt.Errorf("give the terminal to its user: %w", err)
	}
	if err := unix.Sendmsg(int(console.Fd()), []byte{0}, unix.UnixRights(int(master.Fd())), nil, 0); err != nil {
		return fmt.Errorf("hand the terminal over: %w", err)
	}
	if err := unix.IoctlSetInt(int(slave.Fd()), unix.TIOCSCTTY, 0); err != nil {
		return fmt.Errorf("take the terminal: %w", err)
	}
	for fd := range firstFD {
		if err := unix.Dup3(int(slave.Fd()), fd, 0); err != nil {
			return fmt.Errorf("use the terminal: %w", err)
		}
	}
	return nil
}
