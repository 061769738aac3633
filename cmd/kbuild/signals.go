package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// A signalError says which signal asked for an end. It is a cancellation.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string {
	switch e.signal {
	case unix.SIGTERM:
		return "terminated"
	case unix.SIGHUP:
		return "the terminal was closed"
	case unix.SIGQUIT:
		return "quit"
	}
	return "interrupted"
}

func (e *signalError) Is(target error) bool { return target == context.Canceled }

// status is the exit status: 128 and the signal's number, as a shell has it of a
// program that the signal ends.
func (e *signalError) status() int { return 128 + int(e.signal) }

// untilSignal returns a context that a signal which asks for an end cancels,
// with a signalError as its cause. The function is for the time when signals
// are to end the program again.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(s) { // as with nohup(1)
			signal.Notify(signals, s)
		}
	}
	go func() {
		select {
		case s := <-signals:
			cancel(&signalError{s.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}
