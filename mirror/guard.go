package mirror

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/pkg/sysregistriesv2"
	"github.com/containers/image/v5/types"
)

const (
	// stallDefault is how long a connection may stay silent.
	stallDefault = 30 * time.Second
	// pauseLongest is how long the library waits at most after an answer 429
	// before it asks again, which it does five times by itself.
	pauseLongest = time.Minute
	// pauseTold is how long it may wait before that is logged.
	pauseTold = time.Second
)

// stalled reports that a connection was given up.
type stalled struct{ after time.Duration }

func (e *stalled) Error() string { return fmt.Sprintf("sent nothing for %s", e.after) }

// guard watches what the library sends and receives during one call. It ensures
// what http.Client does not: that the call ends when nothing arrives; that
// credentials go to the registry only, and do not follow a redirect to another
// port or a sub-domain; that a redirect does not lead to plain HTTP.
type guard struct {
	hosts []string // that the credentials are for
	// pulls are the names the image may have at each of them, after
	// registries.conf; "" where it has more than one.
	pulls map[string]string
	plain bool // plain HTTP is allowed
	stall time.Duration
	// ended says why the call was ended, or nil; give ends it.
	ended func() error
	give  context.CancelCauseFunc
	// pausing is called, once, when an answer came and the library waits;
	// again when it asks again after the call returned.
	pausing, again func()

	mu     sync.Mutex
	over   bool        // the call has returned, its answer is being read
	limit  *time.Timer // ends the call
	pause  *time.Timer
	conn   net.Conn
	host   string // that the current request is for
	at     string // the name at the last registry that was asked
	basic  bool   // a password went to the registry itself
	refuse error
}

// guarded returns a context for one call of the library, and its guard. The
// guard's done is to be called when the call has returned, the context's cancel
// when its answer has been read.
func (p *puller) guarded(ctx context.Context, source Source, sys *types.SystemContext) (context.Context, *guard) {
	g := &guard{stall: p.stall(), plain: p.settings.tlsVerify == types.OptionalBoolFalse, again: func() {}}
	g.pausing = func() { p.log("%s: %s makes kbuild wait, as after too many requests", source, source.host()) }
	if source.transport == transportDocker {
		g.hosts, g.pulls, g.plain = endpoints(source, sys, g.plain)
	}
	ctx, g.give = context.WithCancelCause(ctx)
	g.limit = time.AfterFunc(time.Hour, func() { g.give(&stalled{g.stall}) })
	g.limit.Stop()
	g.pause = time.AfterFunc(time.Hour, func() {
		g.mu.Lock()
		over := g.over
		g.mu.Unlock()
		if !over {
			g.pausing()
		}
	})
	g.pause.Stop()
	g.ended = func() error { return context.Cause(ctx) }
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// 30 s for the connection and 10 for TLS are the library's own.
		GetConn:          func(string) { g.arm(g.stall+40*time.Second, false) },
		GotConn:          func(info httptrace.GotConnInfo) { g.connected(info.Conn) },
		WroteHeaderField: g.wrote,
		WroteRequest:     func(httptrace.WroteRequestInfo) { g.arm(g.stall, false) },
		GotFirstResponseByte: func() {
			g.arm(g.stall+pauseLongest, true)
		},
	})
	return traced, g
}

func (p *puller) stall() time.Duration {
	if p.opts.Stall > 0 {
		return p.opts.Stall
	}
	return stallDefault
}

// endpoints returns the hosts that registries.conf maps a source to, with the names
// it has there, and whether one of them may be used without TLS.
func endpoints(source Source, sys *types.SystemContext, plain bool) ([]string, map[string]string, bool) {
	hosts, names := []string{source.host()}, map[string]string{}
	if registry, err := sysregistriesv2.FindRegistry(sys, source.named.Name()); err == nil && registry != nil {
		if pulls, err := registry.PullSourcesFromReference(source.named); err == nil {
			for _, pull := range pulls {
				host, name := reference.Domain(pull.Reference), pull.Reference.String()
				hosts = append(hosts, host)
				if other, twice := names[host]; twice && other != name {
					name = ""
				}
				names[host] = name
				plain = plain || pull.Endpoint.Insecure
			}
		}
	}
	if slices.Contains(hosts, "docker.io") {
		hosts = append(hosts, "registry-1.docker.io") // the library knows, too
	}
	return hosts, names, plain
}

// arm sets how long the next step may take.
func (g *guard) arm(d time.Duration, answered bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return
	}
	g.limit.Reset(d)
	if g.pause.Stop(); answered {
		g.pause.Reset(pauseTold)
	}
}

func (g *guard) connected(conn net.Conn) {
	g.mu.Lock()
	g.conn = conn
	over := g.over
	g.mu.Unlock()
	if over {
		g.again()
	}
}

// wrote is called for each header field before any of them is sent.
func (g *guard) wrote(key string, values []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	value := strings.Join(values, " ")
	switch strings.ToLower(key) {
	case "host", ":authority":
		g.host = value
		if name, ok := g.pulls[value]; ok {
			g.at = name
		}
		if _, encrypted := g.conn.(*tls.Conn); !encrypted && !g.plain && !isLoopback(g.host) {
			g.stop(&SourceError{Problem: PlainHTTP, text: "redirects to " + g.host + " over plain HTTP"})
		}
	case "authorization":
		registry := slices.Contains(g.hosts, g.host)
		// A password goes to the registry, or to its token service.
		isBasic := strings.HasPrefix(strings.ToLower(value), "basic ")
		if !registry && (!isBasic || g.basic) {
			g.stop(&SourceError{
				Problem: LeaksCredentials, Host: g.hosts[0],
				text: "redirects to " + g.host + ", which would get the credentials",
			})
		}
		g.basic = g.basic || (registry && isBasic)
	}
}

// stop ends the call before what was written is sent.
func (g *guard) stop(why error) {
	if g.refuse == nil {
		g.refuse = why
	}
	g.conn.Close() //nolint:errcheck // nothing was sent
	g.give(why)
}

// answered returns the name of the image at the registry that answered last, where
// registries.conf has a say in that, or "".
func (g *guard) answered() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at
}

// done notes that the call has returned, and returns the error that it should
// have returned.
func (g *guard) done(err error) error {
	g.mu.Lock()
	g.over = true
	g.mu.Unlock()
	g.limit.Stop()
	g.pause.Stop()
	return g.cause(err)
}

// cause returns the guard's own reason where that caused err.
func (g *guard) cause(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		return nil
	}
	if g.refuse != nil {
		return g.refuse
	}
	if cause := g.ended(); cause != nil {
		return cause
	}
	return err
}

// refused reports whether the guard saw something it does not allow.
func (g *guard) refused() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refuse != nil
}
