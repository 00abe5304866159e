//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/netlab"
)

// What the other journeys between regions stand on: the links do what they are told.

// startLab makes sites that are there until the test ends.
func startLab(t *testing.T, sites ...string) *netlab.Lab {
	t.Helper()
	lab, err := netlab.New(sites...)
	if err != nil {
		t.Fatalf("journeys between regions need network namespaces: %v", err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Errorf("the lab is taken down: %v", err)
		}
	})
	return lab
}

// between sets the conditions of a link.
func between(t *testing.T, lab *netlab.Lab, a, b string, c netlab.Conditions) {
	t.Helper()
	if err := lab.Link(a, b, c); err != nil {
		t.Fatal(err)
	}
}

// ok fails the test on an error of the lab.
func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// parrot answers every TCP connection in a site with what it says.
func parrot(t *testing.T, s *netlab.Site) (address string) {
	t.Helper()
	l, err := s.Listen(t.Context(), s.Addr()+":7")
	ok(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// roundTrips connects and says a byte several times; it returns how long connecting took and the times until each came back.
func roundTrips(t *testing.T, from *netlab.Site, address string, n int) (connect time.Duration, each []time.Duration) {
	t.Helper()
	began := time.Now()
	c, err := from.DialContext(t.Context(), "tcp", address)
	ok(t, err)
	defer c.Close()
	connect = time.Since(began)
	for range n {
		began := time.Now()
		_, err := c.Write([]byte{1})
		ok(t, err)
		_, err = io.ReadFull(c, make([]byte, 1))
		ok(t, err)
		each = append(each, time.Since(began))
	}
	return connect, each
}

// linkStretch is what a stalling machine may add to a round trip.
const linkStretch = 20 * time.Millisecond

func TestLinkBetweenRegionsTakesTheTimeItIsTold(t *testing.T) {
	lab := startLab(t, "home", "eu")
	address := parrot(t, lab.Site("home"))
	machine := mark()
	_, near := roundTrips(t, lab.Site("eu"), address, 20)
	between(t, lab, "home", "eu", netlab.Conditions{Delay: 40 * time.Millisecond})
	connect, far := roundTrips(t, lab.Site("eu"), address, 20)
	stalled := machine.stalled() / time.Duration(len(near)+len(far)) // of each round trip
	t.Logf("round trip without delay p50 %s; with 40 ms each way: connect %s, echo least %s, p50 %s, most %s; the machine stalled each for %s",
		quantile(near, 50), connect.Round(10*time.Microsecond), slices.Min(far).Round(10*time.Microsecond), quantile(far, 50), quantile(far, 100),
		stalled.Round(10*time.Microsecond))
	if p50 := quantile(near, 50); p50 > 5*time.Millisecond+min(stalled, linkStretch) {
		t.Errorf("without delay a round trip takes %s", p50)
	}
	least, p50, most := slices.Min(far), quantile(far, 50), 85*time.Millisecond+min(stalled, linkStretch)
	if least < 80*time.Millisecond || p50 > most || connect < 80*time.Millisecond {
		t.Errorf("80 ms are set: least %s, p50 %s, connect %s; they have to be 80 ms to %s", least, p50, connect, most)
	}
}

func TestLinkLosesTheShareItIsTold(t *testing.T) {
	const sent, loss = 4000, 0.05
	lab := startLab(t, "home", "eu")
	between(t, lab, "home", "eu", netlab.Conditions{Loss: loss})
	in, err := lab.Site("home").ListenPacket(t.Context(), lab.Site("home").Addr()+":9")
	ok(t, err)
	defer in.Close()
	out, err := lab.Site("eu").DialContext(t.Context(), "udp", in.LocalAddr().String())
	ok(t, err)
	defer out.Close()
	came := 0
	buffer := make([]byte, 16)
	for range sent {
		_, err := out.Write([]byte("drop"))
		ok(t, err)
		in.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, _, err := in.ReadFrom(buffer); err == nil {
			came++
		}
	}
	share := 1 - float64(came)/sent
	t.Logf("%d of %d datagrams came, %.1f %% are lost; the link says %+v", came, sent, 100*share, lab.Traffic("eu", "home"))
	if share < loss/2 || share > loss*3/2 {
		t.Errorf("%.1f %% are lost, 5 %% are set", 100*share)
	}
}

func TestCutLinkSwallowsAndHealedLinkCarriesAgain(t *testing.T) {
	lab := startLab(t, "home", "eu", "us")
	address := parrot(t, lab.Site("home"))
	c, err := lab.Site("eu").DialContext(t.Context(), "tcp", address)
	ok(t, err)
	defer c.Close()
	ok(t, lab.Isolate("eu"))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := lab.Site("eu").DialContext(ctx, "tcp", address); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("over a cut link: %v", err)
	}
	roundTrips(t, lab.Site("us"), address, 1) // others aren't cut
	_, err = c.Write([]byte("kept"))
	ok(t, err)
	ok(t, lab.Rejoin("eu"))
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, []byte("kept")) {
		t.Errorf("what was said while the link was cut comes when it is healed: %q %v", got, err)
	}
}

// A site has nothing but itself and its links: no way to the machine, and none out of it.
func TestProgramInASiteSeesNothingOfTheMachine(t *testing.T) {
	lab := startLab(t, "home", "eu")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer l.Close()
	eu := lab.Site("eu")
	if c, err := eu.DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("a site reaches the machine's loopback")
	}
	if c, err := eu.DialContext(t.Context(), "udp", "192.0.2.1:53"); err == nil {
		c.Close()
		t.Error("a site has a way out")
	}
	args := eu.Enter("cat", "/proc/net/route", "/proc/net/dev")
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).Output()
	if err != nil || strings.Count(string(out), "site0") != 2 || strings.Contains(string(out), "eth") {
		t.Errorf("a program in a site sees %v:\n%s", err, out)
	}
}

func TestNothingIsLeftOfAClosedLab(t *testing.T) {
	lab, err := netlab.New("home", "eu")
	if err != nil {
		t.Fatalf("journeys between regions need network namespaces: %v", err)
	}
	eu, address := lab.Site("eu"), ownHost()+":4001"
	ok(t, eu.Forward(t.Context(), address))
	c, err := net.Dial("tcp", address)
	ok(t, err)
	defer c.Close()
	ok(t, lab.Close())
	ok(t, lab.Close())
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a forwarded connection: %v", err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("a forwarded address is still open")
	}
	if _, err := eu.DialContext(t.Context(), "tcp", "10.83.0.1:7"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a dial from a site that is gone: %v", err)
	}
}
