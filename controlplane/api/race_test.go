package api_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/hopgate/hopgate/controlplane/store/memstore"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// replicas are n admin APIs over one store, as of n control planes.
func replicas(t *testing.T, n int) (out []*plane) {
	first := memstore.New()
	kek := testKEK(t)
	out = append(out, start(t, first, withKEK(kek)))
	for range n - 1 {
		out = append(out, start(t, first.Replica(), withKEK(kek)))
	}
	return out
}

func TestThreeWritersWithEtagsLoseNoUpdate(t *testing.T) {
	const writers, each = 3, 15
	planes := replicas(t, writers)
	planes[0].must(200, "PUT", "/v1/servers/a", `{"labels":{"n":"0"},`+demo[1:])
	var wg sync.WaitGroup
	for _, p := range planes {
		client, ctx := p.dial()
		wg.Go(func() {
			for done := 0; done < each; {
				s, err := client.GetServer(ctx, &adminv1.GetRequest{Name: "a"})
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(s.GetLabels()["n"])
				s.Labels["n"] = strconv.Itoa(n + 1)
				_, err = client.PutServer(ctx, &adminv1.PutServerRequest{Name: "a", Server: s})
				switch status.Code(err) {
				case codes.OK:
					done++
				case codes.Aborted:
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	got := planes[0].must(200, "GET", "/v1/servers/a", "")
	if str(got, "labels", "n") != strconv.Itoa(writers*each) || str(got, "meta", "generation") != strconv.Itoa(writers*each+1) {
		t.Errorf("%v", got)
	}
}

func TestThreeWritersOfDifferentFieldsNeedNoEtag(t *testing.T) {
	const each = 15
	planes := replicas(t, 3)
	planes[0].must(200, "PUT", "/v1/servers/a", demo)
	patches := map[string]func(*configv1.Timeouts, string){
		"spec.timeouts.connect": func(ts *configv1.Timeouts, v string) { ts.Connect = v },
		"spec.timeouts.idle":    func(ts *configv1.Timeouts, v string) { ts.Idle = v },
		"spec.timeouts.total":   func(ts *configv1.Timeouts, v string) { ts.Total = v },
	}
	var wg sync.WaitGroup
	i := 0
	for path, patch := range patches {
		client, ctx := planes[i].dial()
		i++
		wg.Go(func() {
			for n := range each {
				ts := &configv1.Timeouts{}
				patch(ts, fmt.Sprintf("%ds", n+1))
				_, err := client.UpdateServer(ctx, &adminv1.UpdateServerRequest{
					Name: "a", Server: &configv1.Server{Spec: &configv1.ServerSpec{Timeouts: ts}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{path}},
				})
				if err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
		})
	}
	wg.Wait()
	got := planes[1].must(200, "GET", "/v1/servers/a", "")
	want := map[string]any{"connect": "15s", "idle": "15s", "total": "15s"}
	if fmt.Sprint(at(got, "spec", "timeouts")) != fmt.Sprint(want) || str(got, "meta", "generation") != "46" {
		t.Errorf("%v", got)
	}
}

func TestOneRequestIDSentTwiceAtOnceWritesOnce(t *testing.T) {
	planes := replicas(t, 3)
	for round := range 10 {
		name, id := fmt.Sprintf("s%d", round), fmt.Sprintf("00000000-0000-4000-8000-%012d", round)
		var wg sync.WaitGroup
		changes := make([]string, len(planes))
		for i, p := range planes {
			wg.Go(func() {
				changes[i] = str(p.must(200, "PUT", "/v1/servers/"+name+"?request_id="+id, demo), "meta", "change")
			})
		}
		wg.Wait()
		if changes[0] == "" || changes[0] != changes[1] || changes[1] != changes[2] {
			t.Errorf("changes %q", changes)
		}
	}
}
