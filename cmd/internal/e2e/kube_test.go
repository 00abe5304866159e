//go:build e2e && kube

package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kubernetes is a real API server: it checks and stores, and nothing runs.
type kubernetes struct{ config string }

func startKubernetes(t *testing.T) *kubernetes {
	t.Helper()
	dir, host, store := t.TempDir(), ownHost(), "http://"+ownHost()+":2379"
	start(t, program{Name: "etcd", Args: []string{tool(t, "E2E_ETCD", "etcd"), "--data-dir", filepath.Join(dir, "etcd"), "--log-level", "warn",
		"--listen-client-urls", store, "--advertise-client-urls", store, "--listen-peer-urls", "http://" + host + ":2380"}})
	key, token := filepath.Join(dir, "sa.key"), rand.Text()
	write(t, key, serviceAccountKey(t))
	write(t, filepath.Join(dir, "tokens.csv"), []byte(token+",admin,admin,system:masters\n"))
	start(t, program{Name: "kube-apiserver", Args: []string{tool(t, "E2E_KUBE", "kube-apiserver"), "--etcd-servers", store, "--bind-address", host,
		"--advertise-address", host, "--secure-port", "6443", "--cert-dir", filepath.Join(dir, "certs"), "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", key, "--service-account-signing-key-file", key,
		"--token-auth-file", filepath.Join(dir, "tokens.csv"), "--service-cluster-ip-range", "10.96.0.0/24",
		"--disable-admission-plugins", "ServiceAccount", "--endpoint-reconciler-type", "none"}})
	k := &kubernetes{filepath.Join(dir, "config")}
	write(t, k.config, fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],`+
		`"clusters":[{"name":"x","cluster":{"server":"https://%s:6443","insecure-skip-tls-verify":true}}],"users":[{"name":"x","user":{"token":%q}}]}`, host, token))
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // its own certificate
	eventually(t, time.Minute, "the API server is ready", func() error {
		res, err := client.Get("https://" + host + ":6443/readyz")
		if err != nil {
			return err
		}
		defer res.Body.Close() //nolint:errcheck // only the status counts
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
	return k
}

func serviceAccountKey(t *testing.T) []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// apply gives documents to the server, which checks them strictly and stores nothing.
func (k *kubernetes) apply(t *testing.T, documents string) result {
	t.Helper()
	return run(t, time.Minute, program{Name: "kubectl", Args: []string{tool(t, "E2E_KUBE", "kubectl"), "--kubeconfig", k.config, "apply",
		"--dry-run=server", "--validate=strict", "-f", "-"}}, documents)
}

func TestKubernetesTakesTheChart(t *testing.T) {
	k := startKubernetes(t)
	chart := filepath.Join(deployDir, "kubernetes", "hopgate")
	for _, example := range []string{"small.yaml", "two-regions.yaml", "data-planes-only.yaml"} {
		out, err := helm(t, "template", "prod", chart, "--kube-version", "1.37.0", "-f", filepath.Join(deployDir, "kubernetes", "examples", example))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		res := k.apply(t, out)
		if objects := strings.Count(out, "\nkind: "); res.Code != 0 || strings.Count(res.Out, "(server dry run)") != objects {
			t.Errorf("%s: of %d objects the server takes:\n%s", example, objects, res)
		} else {
			t.Logf("%s: the server takes %d objects", example, objects)
		}
		for what, from := range map[string]string{"an unknown field": "runAsNonRoot:", "a wrong type": "containerPort:"} {
			to := map[string]string{"an unknown field": "runAsNobody:", "a wrong type": "containerPort: x #"}[what]
			if res := k.apply(t, strings.Replace(out, from, to, 1)); res.Code == 0 {
				t.Errorf("%s: the server takes %s: it checks nothing\n%s", example, what, res)
			}
		}
	}
}
