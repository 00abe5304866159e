//go:build e2e && linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/netlab"
)

// regionsApart are links between regions that are 80 ms of round trip away from each other.
var regionsApart = netlab.Conditions{Delay: 40 * time.Millisecond}

// world is a fleet spread over sites. A site is named after the region in which its processes stand, home among them. Control planes are
// reached over mTLS on the address of their site; a relay serves its own site only, on loopback. What tests call, the admin APIs
// and the data planes, listens on the loopback of its site and is forwarded, so control and proxy work as they do without sites.
//
//	w := startWorld(t, regionsApart, "home", "eu", "us", "ap")
//	home := w.control(t, "home", "home")
//	for _, region := range []string{"eu", "us", "ap"} {
//		relay := w.relay(t, region, "relay-"+region, home)   // or data planes at home: w.proxy(t, region, region+"-1", home)
//		w.proxy(t, region, region+"-1", relay)
//	}
//	home.apply(t, w.everywhere(t, "demo", "eu", "us", "ap"))
//	ok(t, w.lab.Isolate("eu"))
type world struct {
	lab   *netlab.Lab
	kek   string
	files string   // of the authority and of what it issued
	env   []string // of every control plane, relay and data plane

	mu     sync.Mutex // control, relay and proxy may be called side by side
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	serial int64
}

// startWorld makes the sites, all linked alike.
func startWorld(t *testing.T, links netlab.Conditions, sites ...string) *world {
	t.Helper()
	w := &world{lab: startLab(t, sites...), files: t.TempDir()}
	for i, a := range sites {
		for _, b := range sites[i+1:] {
			between(t, w.lab, a, b, links)
		}
	}
	w.kek = filepath.Join(w.files, "kek")
	ok(t, os.WriteFile(w.kek, []byte(strings.Repeat("5a", 32)), 0o600))
	w.found(t)
	return w
}

// forward makes a port of a fresh loopback address of the site reachable from the test.
func (w *world) forward(t *testing.T, site, host string, ports ...int) {
	t.Helper()
	for _, port := range ports {
		ok(t, w.lab.Site(site).Forward(t.Context(), fmt.Sprintf("%s:%d", host, port)))
	}
}

// start runs a program in a site.
func (w *world) start(t *testing.T, site string, p program) *running {
	t.Helper()
	p.Args = w.lab.Site(site).Enter(p.Args...)
	return start(t, p)
}

// control starts a control plane in a site: with an embedded store, or with --etcd among the flags.
func (w *world) control(t *testing.T, site, name string, flags ...string) *control {
	t.Helper()
	sync := net.JoinHostPort(w.lab.Site(site).Addr(), fmt.Sprint(4100+w.next()))
	cert, key := w.issue(t, name, "")
	return w.plane(t, site, name, sync, append(flags, "--kek-file", w.kek, "--sync-cert", cert, "--sync-key", key, "--sync-client-ca", w.authority())...)
}

// relay starts the relay of a region.
func (w *world) relay(t *testing.T, region, name string, upstream *control) *control {
	t.Helper()
	cert, key := w.issue(t, name, region)
	return w.plane(t, region, name, ownHost()+":4002", "--upstream", upstream.Sync, "--region", region, "--node", name,
		"--cert", cert, "--key", key, "--ca", w.authority())
}

func (w *world) plane(t *testing.T, site, name, sync string, flags ...string) *control {
	t.Helper()
	host := ownHost()
	w.forward(t, site, host, 4001)
	c := &control{Admin: host + ":4001", Sync: sync}
	args := []string{hopgate(t), "control", "--admin", c.Admin, "--sync", c.Sync, "--replica", name, "--data-dir", filepath.Join(t.TempDir(), "data")}
	c.running = w.start(t, site, program{Name: name, Args: append(args, flags...), Env: append([]string{"HOPGATE_MASTER_KEY=" + masterKey}, w.env...), Clean: true})
	c.wait(t)
	return c
}

// proxy starts a data plane in a region, following control planes anywhere or the relay of its region, and waits until it is ready.
func (w *world) proxy(t *testing.T, region, name string, controls ...*control) *proxy {
	t.Helper()
	host := ownHost()
	w.forward(t, region, host, 4000, 4003)
	p := &proxy{Listen: host + ":4000", Admin: host + ":4003", State: filepath.Join(t.TempDir(), "state")}
	args := []string{hopgate(t), "proxy", "--node", name, "--region", region, "--listen", p.Listen, "--admin", p.Admin, "--state-dir", p.State,
		"--drain-delay", "0s", "--drain-timeout", "2s"}
	for _, c := range controls {
		args = append(args, "--control", c.Sync)
	}
	if !strings.HasPrefix(controls[0].Sync, "127.") {
		cert, key := w.issue(t, name, region)
		args = append(args, "--cert", cert, "--key", key, "--ca", w.authority())
	}
	p.running = w.start(t, region, program{Name: name, Args: args, Env: w.env, Clean: true})
	p.wait(t)
	return p
}

// demo starts the built-in demo server in a site; its URL is good within the site.
func (w *world) demo(t *testing.T, site string) (url string) {
	t.Helper()
	self, err := os.Executable()
	ok(t, err)
	r := w.start(t, site, program{Name: "demo-" + site, Args: []string{self}, Env: []string{serveDemoEnv + "=1"}, Clean: true})
	eventually(t, shown, "the demo server says where it is", func() error {
		_, after, found := strings.Cut(r.output(), "serving ")
		if url = strings.TrimSpace(after); !found || !strings.HasSuffix(url, "/mcp") {
			return fmt.Errorf("it says %q", r.output())
		}
		return nil
	})
	return url
}

// everywhere is a Server document with a demo server in each region.
func (w *world) everywhere(t *testing.T, name string, regions ...string) string {
	t.Helper()
	endpoints := []string{}
	for _, r := range regions {
		endpoints = append(endpoints, fmt.Sprintf("{url: %q, regions: [%s]}", w.demo(t, r), r))
	}
	return fmt.Sprintf("kind: Server\nname: %s\nspec:\n  endpoints: [%s]\n---\n", name, strings.Join(endpoints, ", "))
}

// etcd starts a real etcd of three nodes in a site, reached on the site's address.
func (w *world) etcd(t *testing.T, site string) []*member {
	t.Helper()
	at := w.lab.Site(site).Addr()
	client := func(i int) string { return fmt.Sprintf("http://%s:%d", at, 2379+10*i) }
	peer := func(i int) string { return fmt.Sprintf("http://%s:%d", at, 2380+10*i) }
	cluster := fmt.Sprintf("etcd-0=%s,etcd-1=%s,etcd-2=%s", peer(0), peer(1), peer(2))
	out := []*member{}
	for i := range 3 {
		name := fmt.Sprintf("etcd-%d", i)
		r := w.start(t, site, program{Name: name, Args: []string{tool(t, "E2E_ETCD", "etcd"),
			"--name", name, "--data-dir", filepath.Join(t.TempDir(), name), "--log-level", "warn",
			"--listen-client-urls", client(i), "--advertise-client-urls", client(i), "--listen-peer-urls", peer(i), "--initial-advertise-peer-urls", peer(i),
			"--initial-cluster", cluster, "--initial-cluster-state", "new", "--initial-cluster-token", "e2e"}})
		out = append(out, &member{r, name, client(i)})
	}
	eventually(t, 30*time.Second, "etcd answers", func() error {
		if res := w.etcdctl(t, site, out, "endpoint", "health"); res.Code != 0 {
			return fmt.Errorf("%v", res)
		}
		return nil
	})
	return out
}

func (w *world) etcdctl(t *testing.T, site string, members []*member, args ...string) result {
	t.Helper()
	all := append([]string{tool(t, "E2E_ETCD", "etcdctl"), "--endpoints", clients(members), "--command-timeout", "5s"}, args...)
	return run(t, 20*time.Second, program{Name: "etcdctl", Args: w.lab.Site(site).Enter(all...)}, "")
}

func (w *world) authority() string { return filepath.Join(w.files, "ca.crt") }

func (w *world) next() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serial++
	return w.serial
}

func (w *world) template(name string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(w.next()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
}

// found makes the world's certificate authority.
func (w *world) found(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	template := w.template("e2e")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ok(t, err)
	w.key = key
	w.cert, err = x509.ParseCertificate(der)
	ok(t, err)
	ok(t, os.WriteFile(w.authority(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}

// issue writes a certificate: of a node in a region, or without a region that of a control plane in any site.
func (w *world) issue(t *testing.T, name, region string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	template := w.template(name)
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for i := range byte(32) {
		template.IPAddresses = append(template.IPAddresses, net.IPv4(10, 83, 0, i+1))
	}
	if region != "" {
		template.IPAddresses, template.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		template.URIs = []*url.URL{{Scheme: "spiffe", Host: "e2e", Path: "/dp/" + region + "/" + name}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, w.cert, &k.PublicKey, w.key)
	ok(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(k)
	ok(t, err)
	cert, key = filepath.Join(w.files, name+".crt"), filepath.Join(w.files, name+".key")
	ok(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	ok(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return cert, key
}

// traffic calls a server of a data plane without a pause, a few callers at a time, until it is stopped.
type traffic struct {
	stop         chan struct{}
	callers      sync.WaitGroup
	done, failed atomic.Int64
	slowest      atomic.Int64 // nanoseconds
	first        atomic.Pointer[error]
}

// trafficCallers is how many clients traffic has, trafficPause what each waits between two calls, trafficLeast how many calls prove something.
const (
	trafficCallers = 3
	trafficLeast   = 100
	trafficPause   = 5 * time.Millisecond
)

func startTraffic(t *testing.T, p *proxy, server, key string) *traffic {
	t.Helper()
	f := &traffic{stop: make(chan struct{})}
	for range trafficCallers {
		f.callers.Go(func() {
			tick := time.NewTicker(trafficPause)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-f.stop:
					return
				case <-tick.C:
					f.call(p.url(server), key, fmt.Sprint(n))
				}
			}
		})
	}
	t.Cleanup(f.end)
	return f
}

func (f *traffic) call(url, key, text string) {
	began := time.Now()
	if err := echo(url, key, text); err != nil {
		f.failed.Add(1)
		f.first.CompareAndSwap(nil, &err)
	}
	f.done.Add(1)
	took := time.Since(began).Nanoseconds()
	for was := f.slowest.Load(); took > was && !f.slowest.CompareAndSwap(was, took); was = f.slowest.Load() {
	}
}

func (f *traffic) end() {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	f.callers.Wait()
}

// spotless ends the traffic, once there were some calls, and fails if any of them failed.
func (f *traffic) spotless(t *testing.T, where string) {
	t.Helper()
	eventually(t, shown, where+": some calls", func() error {
		if n := f.done.Load(); n < trafficLeast {
			return fmt.Errorf("%d of %d", n, trafficLeast)
		}
		return nil
	})
	f.end()
	t.Logf("%s: %d calls, %d failed, slowest %s", where, f.done.Load(), f.failed.Load(), time.Duration(f.slowest.Load()).Round(time.Millisecond))
	if first := f.first.Load(); first != nil {
		t.Errorf("%s: %d of %d calls failed, the first: %v", where, f.failed.Load(), f.done.Load(), *first)
	}
}
