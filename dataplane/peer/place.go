package peer

import (
	"encoding/hex"
	"errors"
	"net"
	"net/url"
	"strings"
)

// place is where something lives: a process, and the address where it was reached when that began. Addresses pass from one to another, names of
// processes never do.
type place struct{ address, process string }

// String is how a place is sealed. The space keeps earlier versions, which take all of it for an address, from asking anybody: they find that it
// is none, and the session lost.
func (at place) String() string { return at.address + " " + at.process }

func parsePlace(s string) (at place, ok bool) {
	at.address, at.process, ok = strings.Cut(s, " ")
	return at, ok && at.address != "" && checkAddress(at.address) == nil && isProcess(at.process)
}

// isProcess reports whether s may have been made by rand.Text.
func isProcess(s string) bool {
	return len(s) >= 26 && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

func checkAddress(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("peer: advertise: an address like http://10.0.0.5:4000 is needed, without a path, a slash at the end or a user")
	}
	return nil
}

// scheme and host are the parts of the address.
func (at place) parts() (scheme, host string) {
	scheme, host, _ = strings.Cut(at.address, "://")
	return scheme, host
}

// dialled is the address for a dialer, with a port.
func (at place) dialled() (address, name string) {
	scheme, host := at.parts()
	u := url.URL{Host: host}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return net.JoinHostPort(u.Hostname(), port), u.Hostname()
}

// pool is the host by which net/http tells connections apart, so that those which one process has proved are never used for another at the same
// address. It is no name that anybody could resolve; dialPlace reads it.
func (at place) pool() string { return hex.EncodeToString([]byte(at.address)) + "." + at.process }

// dialPlace is the inverse of pool, with the port that net/http adds.
func dialPlace(addr string) (at place, ok bool) {
	host, _, err := net.SplitHostPort(addr)
	name, process, ok := strings.Cut(host, ".")
	raw, herr := hex.DecodeString(name)
	return place{address: string(raw), process: process}, ok && err == nil && herr == nil
}
