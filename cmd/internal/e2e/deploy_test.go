//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var deployDir = filepath.Join("..", "..", "..", "deploy")

// helm runs it on the chart and returns all it prints.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), tool(t, "E2E_HELM", "helm"), args...).CombinedOutput()
	return string(out), err
}

func TestChartRendersItsExamples(t *testing.T) {
	chart := filepath.Join(deployDir, "kubernetes", "hopgate")
	for example, kinds := range map[string][]string{
		"small.yaml":            {"Deployment", "StatefulSet", "Service"},
		"two-regions.yaml":      {"Deployment", "StatefulSet", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy"},
		"data-planes-only.yaml": {"StatefulSet", "Service", "PodDisruptionBudget"},
	} {
		t.Run(example, func(t *testing.T) {
			values := filepath.Join(deployDir, "kubernetes", "examples", example)
			if out, err := helm(t, "lint", chart, "--strict", "-f", values); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			out, err := helm(t, "template", "prod", chart, "--kube-version", "1.33.0", "-f", values)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, kind := range kinds {
				if !strings.Contains(out, "\nkind: "+kind+"\n") {
					t.Errorf("there is no %s", kind)
				}
			}
			pods, safe := strings.Count(out, "runAsNonRoot: true"), strings.Count(out, "readOnlyRootFilesystem: true")
			if images := len(regexp.MustCompile(`(?m)^ +image: "[^":]+:[^":]+"$`).FindAllString(out, -1)); pods == 0 || safe != images {
				t.Errorf("%d pods run as non-root, %d of %d containers are read-only", pods, safe, images)
			}
		})
	}
}

func TestChartRefusesBadValues(t *testing.T) {
	chart := filepath.Join(deployDir, "kubernetes", "hopgate")
	small := filepath.Join(deployDir, "kubernetes", "examples", "small.yaml")
	for set, want := range map[string]string{
		"image.tag=latest":                     "image.tag",
		"control.etcd.endpoints=null":          "control.etcd.endpoints",
		"control.etcd.user=root":               "control.etcd.passwordSecret",
		"control.replicas=0":                   "/control/replicas",
		"control.enabled=false":                "proxies.control is empty",
		"proxies.certificates.mode=csi":        "proxies.certificates.issuer.name",
		"proxies.regions[0].name=EU":           "/proxies/regions/0/name",
		"proxies.drain.delaySeconds=soon":      "/proxies/drain/delaySeconds",
		"proxies.region=eu":                    "'region' not allowed",
		"control.etcd.endpoints[0]=etcd:2379":  "/control/etcd/endpoints/0",
		"proxies.regions[1].name=eu":           "eu is there twice",
		"proxies.control[0]=https://control:1": "/proxies/control/0",
	} {
		out, err := helm(t, "template", "prod", chart, "--kube-version", "1.33.0", "-f", small, "--set", set)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, want it to name %s\n%.400s", set, err, want, out)
		}
	}
}

func TestComposeCertificatesFitNginxAndHopgate(t *testing.T) {
	dir := t.TempDir()
	compose := filepath.Join(deployDir, "compose")
	cmd := exec.CommandContext(t.Context(), "sh", filepath.Join(compose, "certificates.sh"), dir)
	cmd.Env = append(os.Environ(), "OWNER=0:0")
	for range 2 { // the second time it changes nothing
		run := *cmd
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	b, err := os.ReadFile(filepath.Join(compose, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	conf := regexp.MustCompile(`\b(eu|us)-[12]:4000`).ReplaceAllString(string(b), "127.0.0.1:4000") // names of the network of compose
	conf = strings.NewReplacer("/certs/", dir+"/", "/tmp/nginx.pid", dir+"/nginx.pid").Replace(conf)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), debian(t, "nginx"), "-t", "-e", "stderr", "-p", dir, "-c", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
