package netlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Site is one place. It lives as long as its Lab. Its methods may be called by several goroutines.
type Site struct {
	name      string
	address   netip.Addr
	namespace *os.File
	tunnel    *os.File
	nsenter   string

	mu       sync.Mutex
	closed   bool
	open     map[io.Closer]struct{} // what Forward listens on and copies between
	forwards sync.WaitGroup
}

func newSite(name string, address netip.Addr) (*Site, error) {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return nil, fmt.Errorf("%w: programs enter a site with nsenter of util-linux; install it", err)
	}
	s := &Site{name: name, address: address, nsenter: nsenter, open: map[io.Closer]struct{}{}}
	if s.namespace, s.tunnel, err = makeNamespace(address.As4()); err != nil {
		return nil, err
	}
	return s, nil
}

// Name is what the site was called when the lab was made.
func (s *Site) Name() string { return s.name }

// Addr is the IPv4 address under which other sites reach this one.
func (s *Site) Addr() string { return s.address.String() }

// Enter turns a command line into one that runs the same program inside the site, under the same process id. It is good while the lab is open;
// a program that runs keeps the namespace alive, not its links.
func (s *Site) Enter(args ...string) []string {
	return append([]string{s.nsenter, fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), s.namespace.Fd()), "--"}, args...)
}

// inside runs fn on a thread that stands in the site. Sockets that fn makes stay there.
func (s *Site) inside(fn func() error) error {
	return elsewhere(func() error {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return fmt.Errorf("site %s: %w", s.name, net.ErrClosed)
		}
		err := unix.Setns(int(s.namespace.Fd()), unix.CLONE_NEWNET)
		s.mu.Unlock()
		if err != nil {
			return fmt.Errorf("enter site %s: %w", s.name, err)
		}
		return fn()
	})
}

// DialContext connects from inside the site, like net.Dialer's. The address has to be numeric.
func (s *Site) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dial from site %s: %w: the address must be IP:PORT", s.name, err)
	}
	err = s.inside(func() error {
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Listen accepts TCP connections inside the site.
func (s *Site) Listen(ctx context.Context, address string) (l net.Listener, err error) {
	err = s.inside(func() error {
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", address)
		return err
	})
	return l, err
}

// ListenPacket takes UDP packets inside the site.
func (s *Site) ListenPacket(ctx context.Context, address string) (c net.PacketConn, err error) {
	err = s.inside(func() error {
		c, err = (&net.ListenConfig{}).ListenPacket(ctx, "udp4", address)
		return err
	})
	return c, err
}

// Forward listens on a loopback address of this process and connects whoever calls it with the same address inside the site, until the lab is
// closed. So a test reaches what listens on the site's loopback as if there were no namespaces; the links are not on that way.
func (s *Site) Forward(ctx context.Context, address string) error {
	if at, err := netip.ParseAddrPort(address); err != nil || !at.Addr().IsLoopback() {
		return fmt.Errorf("forward %q: it must be a loopback address, IP:PORT", address)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	if !s.keep(l) {
		return errors.Join(net.ErrClosed, l.Close())
	}
	s.forwards.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.forwards.Go(func() { s.connect(c, address) })
		}
	})
	return nil
}

// connect copies between a caller and the address inside until one side ends.
func (s *Site) connect(caller net.Conn, address string) {
	defer s.drop(caller)
	if !s.keep(caller) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	callee, err := s.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer s.drop(callee)
	if !s.keep(callee) {
		return
	}
	s.forwards.Go(func() {
		io.Copy(caller, callee) //nolint:errcheck // the other side ended
		s.drop(caller)
		s.drop(callee)
	})
	io.Copy(callee, caller) //nolint:errcheck // as above
}

func (s *Site) keep(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.open[c] = struct{}{}
	}
	return !s.closed
}

func (s *Site) drop(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	c.Close() //nolint:errcheck // it is over
}

// close ends what goes through the site. Connections that a caller of DialContext or Listen has are the caller's.
func (s *Site) close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		c.Close() //nolint:errcheck // whoever uses it notices
	}
	err := closeAll(s.tunnel, s.namespace)
	s.mu.Unlock()
	s.forwards.Wait()
	return err
}
