package stream

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

const (
	// strangersMost is how many connections without a certificate there may be at once, and strangerTime how long each of them lasts: they are
	// there to join, which takes a moment.
	strangersMost = 2000
	strangerTime  = 20 * time.Second
	// shareOfFree is how many times the free places one source may have: alone it gets three quarters of all, and however many sources want all
	// they can get, some places stay free for those who have none.
	shareOfFree = 3
)

// room is a number of places that many sources share, so that none of them gets all. It is safe for concurrent use.
type room struct {
	places int

	mu    sync.Mutex
	taken map[netip.Prefix]int // guarded by mu
	all   int                  // guarded by mu
}

func newRoom(places int) *room { return &room{places: places, taken: map[netip.Prefix]int{}} }

// enter takes a place unless the source has too many; leave gives it back.
func (r *room) enter(from netip.Prefix) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken[from] >= shareOfFree*(r.places-r.all) {
		return false
	}
	r.taken[from]++
	r.all++
	return true
}

func (r *room) leave(from netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all--
	if r.taken[from]--; r.taken[from] == 0 {
		delete(r.taken, from)
	}
}

// sourceOf is where a connection comes from: its address, or the network of one that can have as many addresses as it wants.
func sourceOf(conn net.Conn) netip.Prefix {
	at, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := at.AddrPort().Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.WithZone("").Prefix(bits)
	return p
}

// stranger is a connection without a certificate. It has a place until it is closed, which happens soon.
type stranger struct {
	net.Conn

	leave func() // once
	ends  *time.Timer
}

func newStranger(conn net.Conn, places *room) (net.Conn, bool) {
	from := sourceOf(conn)
	if !places.enter(from) {
		return nil, false
	}
	s := &stranger{Conn: conn, leave: sync.OnceFunc(func() { places.leave(from) })}
	s.ends = time.AfterFunc(strangerTime, func() { _ = s.Conn.Close() }) // its reader then closes it
	return s, true
}

// Close ends the connection.
func (s *stranger) Close() error {
	s.ends.Stop()
	s.leave()
	return s.Conn.Close()
}

// withCertificate says whether a connection came with a certificate that was verified.
func withCertificate(info credentials.AuthInfo) bool {
	t, ok := info.(credentials.TLSInfo)
	return ok && len(t.State.VerifiedChains) > 0
}
