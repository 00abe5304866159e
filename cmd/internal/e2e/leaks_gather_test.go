//go:build e2e

package e2e

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// fetch keeps a page of a process.
func (s *spill) fetch(t *testing.T, place, url string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	res, err := quick.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, res.Status, err)
	}
	s.see(place, url, b)
	return string(b)
}

// pages are what every process shows to who runs it.
var pages = []string{"/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline", "/readyz", "/healthz"}

// lookInside reads metrics and debug pages, those of data planes while a call with every kind of secret hangs.
func (s *spill) lookInside(t *testing.T) {
	t.Helper()
	ended := make(chan answer, 2*len(s.proxies))
	for range s.proxies {
		for _, name := range []string{s.plain, "leaky"} {
			s.turn++
			at := *s // takes turns by itself
			go func() { ended <- at.call(t, name, "hangs", "Cookie", at.secret("a cookie")) }()
			<-s.gossip.hanging
		}
		s.turn++
	}
	for _, p := range s.proxies {
		list := ""
		for _, page := range append(pages, "/debug/requests?format=json", "/debug/requests") {
			list = s.fetch(t, "page", "http://"+p.Admin+page)
		}
		if !strings.Contains(list, s.plain) || !strings.Contains(list, "leaky") {
			t.Errorf("%s doesn't list the calls that hang:\n%s", p.Name, list)
		}
		s.fetch(t, "metrics "+p.Name, "http://"+p.Admin+"/metrics")
	}
	close(s.gossip.release)
	for range cap(ended) {
		if a := <-ended; a.Status != http.StatusOK {
			t.Errorf("a call that hung ends with %+v", a)
		}
	}
	for _, c := range s.controls {
		for _, page := range append(pages, "/openapi.json", "/v1/info") {
			s.fetch(t, "page", "http://"+c.Admin+page)
		}
		if page := s.fetch(t, "metrics "+c.Name, "http://"+c.Admin+"/metrics"); !strings.Contains(page, "hopgate_") {
			t.Errorf("%s has no metrics of its own: the search proves nothing", c.Name)
		}
	}
}

// gather ends the processes, the last words included, and collects what is left of them: logs, spans, the store and files.
func (s *spill) gather(t *testing.T) {
	t.Helper()
	s.keys(t)
	for _, p := range s.proxies {
		p.stop(t)
		s.see("log "+p.Name, p.log, []byte(p.output()))
	}
	for _, c := range s.controls {
		c.stop(t)
		s.see("log "+c.Name, c.log, []byte(c.output()))
	}
	s.spans(t)
	s.dump(t)
	for _, m := range s.members {
		m.kill()
		s.files(t, "etcd file", m.Args[slices.Index(m.Args, "--data-dir")+1])
	}
	for _, p := range s.proxies {
		key, err := os.ReadFile(filepath.Join(p.State, "node.key"))
		if err != nil {
			t.Fatal(err)
		}
		s.known("the node key of "+p.Name, string(key), func(h *haystack) bool { return strings.HasSuffix(h.name, "node.key") })
		s.files(t, "state "+p.Name, p.State)
	}
}

// keys plants the key material of the store: what seals sessions, and the data keys by which that and a Secret are encrypted.
func (s *spill) keys(t *testing.T) {
	t.Helper()
	store, err := etcdstore.Cluster(etcdstore.ClusterConfig{Endpoints: strings.Split(clients(s.members), ",")})
	if err == nil {
		err = store.Open(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // read only
	kek, err := secret.LoadKEK(s.kek, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []confset.Key{{Kind: secret.KindRing, Name: "session"}, {Kind: secret.KindSecret, Name: "bearer-token"}} {
		head, err := store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := secret.OpenHead(kek)(head)
		if err != nil {
			t.Fatal(err)
		}
		sealed, ring, value := head.Object.Body, new(configv1.SealingRing), new(configv1.Secret)
		if key.Kind == secret.KindSecret {
			if err := proto.Unmarshal(head.Object.Body, value); err != nil {
				t.Fatal(err)
			}
			sealed = value.GetSpec().GetSealed()
		} else if err := proto.Unmarshal(opened.Body, ring); err != nil {
			t.Fatal(err)
		}
		for _, k := range ring.GetKeys() {
			s.known("the key that seals sessions", string(k.GetSecret()), nil)
		}
		s.known("the data key of "+key.String(), dataKey(t, s.kek, secret.AAD(key, head.Object.UID), sealed), nil)
	}
}

// dataKey unwraps the data key of a sealed body: after a version and the id of the key-encryption key come nonce (12), key (32) and tag (16).
func dataKey(t *testing.T, file string, aad, sealed []byte) string {
	t.Helper()
	hexed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var kek []byte
	fmt.Sscanf(string(hexed), "%x", &kek)
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	const head, nonce, wrapped = 9, 12, 60
	key, err := aead.Open(nil, sealed[head:head+nonce], sealed[head+nonce:head+wrapped], slices.Concat(sealed[:head], aad))
	if err != nil {
		t.Fatal(err)
	}
	return string(key)
}

// spans reads every trace of every service, once all traces that answers named are there.
func (s *spill) spans(t *testing.T) {
	t.Helper()
	services := []string{}
	eventually(t, shown, "Jaeger has every trace that an answer names", func() error {
		all := ""
		services = services[:0]
		for _, name := range []string{dataPlane, controlPlane} {
			b, err := s.raw("/api/traces?" + url.Values{"service": {name}, "limit": {"100000"}}.Encode())
			if err != nil {
				return err
			}
			all += b
			services = append(services, b)
		}
		missing := 0
		for _, id := range s.traces() {
			if !strings.Contains(all, id) {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d are missing", missing, len(s.traces()))
		}
		return nil
	})
	for i, name := range []string{dataPlane, controlPlane} {
		s.see("span", name, []byte(services[i]))
	}
	var list struct{ Data []string }
	b, err := s.raw("/api/services")
	if err == nil {
		err = json.Unmarshal([]byte(b), &list)
	}
	if slices.Sort(list.Data); err != nil || !slices.Equal(list.Data, []string{controlPlane, dataPlane}) {
		t.Errorf("Jaeger knows the services %v, %v", list.Data, err)
	}
}

func (s *spill) raw(path string) (string, error) {
	res, err := quick.Get(s.jaeger.query + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return string(b), err
}

// traces are the trace ids that answers of data planes named.
func (s *spill) traces() (ids []string) {
	for _, h := range s.hay {
		if _, rest, ok := strings.Cut(string(h.data), "X-Hopgate-Trace-Id: "); ok && h.place == "answer" {
			ids = append(ids, rest[:32])
		}
	}
	return ids
}

// dump reads all of etcd.
func (s *spill) dump(t *testing.T) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(clients(s.members), ","), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // read only
	all, err := c.Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil || all.More || all.Count == 0 {
		t.Fatalf("the dump has %d keys: %v", all.Count, err)
	}
	for _, kv := range all.Kvs {
		s.see("etcd", string(kv.Key), slices.Concat(kv.Key, []byte("\n"), kv.Value))
	}
}

// files keeps every file below a directory, without the zeros that fill some up.
func (s *spill) files(t *testing.T, place, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		s.see(place, path, []byte(strings.TrimRight(string(b), "\x00")))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// judge searches, and checks that the search could find something in each place.
func (s *spill) judge(t *testing.T) {
	leaks, belong := s.search()
	for i := range s.canaries {
		c := &s.canaries[i]
		for _, must := range []string{"the key of ", "the node key of ", "the token in the path of ", "a session id of ours"} {
			if strings.HasPrefix(c.what, must) && belong[c] == 0 {
				t.Errorf("%s isn't even where it belongs: the search proves nothing", c.what)
			}
		}
	}
	told := map[string]int{}
	for _, f := range leaks {
		if where := f.canary.what + f.hay.place + f.hay.name; told[where] == 0 {
			t.Error(f)
			told[where]++
		}
	}
	size, control := map[string]int{}, newSieve([]canary{{what: "the control word", value: s.plain}})
	shows := map[string]bool{}
	total := 0
	for _, h := range s.hay {
		size[h.place] += len(h.data)
		total += len(h.data)
		control.find(h.data, func(n *needle, _ int) { shows[h.place] = shows[h.place] || n.spelling == "as it is" })
	}
	t.Logf("%d canaries in %d haystacks of %d bytes: %v", len(s.canaries), len(s.hay), total, size)
	for _, place := range []string{"answer", "admin", "cli", "page", "log control-1", "log control-2", "log proxy-1", "log proxy-2", "metrics proxy-1", "metrics proxy-2", "span", "etcd", "etcd file"} {
		if !shows[place] {
			t.Errorf("%s: the control word isn't there, in %d bytes: the search proves nothing", place, size[place])
		}
	}
}
