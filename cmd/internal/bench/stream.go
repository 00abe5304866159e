package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// streamDelay is how late events come, per path, in milliseconds.
type streamDelay struct {
	First  map[string]float64 `json:"first_event_p50_ms"`
	LagP50 map[string]float64 `json:"lag_p50_ms"`
	LagP99 map[string]float64 `json:"lag_p99_ms"`
}

var stamp = regexp.MustCompile(`"data":(\d+)`)

// streams takes 20 interleaved rounds of five stamped events over each path.
func (r *rig) streams(ctx context.Context) (streamDelay, error) {
	out := streamDelay{First: map[string]float64{}, LagP50: map[string]float64{}, LagP99: map[string]float64{}}
	urls := map[string]string{"direct": r.events, "nginx": r.eventsNginx, "hopgate": r.eventsHopgate}
	first, lag := map[string][]float64{}, map[string][]float64{}
	for range 20 {
		for name, url := range urls {
			f, l, err := r.events5(ctx, url)
			if err != nil {
				return out, fmt.Errorf("events over %s: %w", name, err)
			}
			first[name], lag[name] = append(first[name], f), append(lag[name], l...)
		}
	}
	for name := range urls {
		out.First[name], out.LagP50[name], out.LagP99[name] = median(first[name]), median(lag[name]), quantile(lag[name], 0.99)
	}
	return out, nil
}

func (r *rig) events5(ctx context.Context, url string) (first float64, lag []float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(callBody))
	if err != nil {
		return 0, nil, err
	}
	for k, v := range callHeaders(r.key) {
		req.Header.Set(k, v)
	}
	begin := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		m := stamp.FindSubmatch(s.Bytes())
		if m == nil {
			continue
		}
		now := time.Now()
		sent, err := strconv.ParseInt(string(m[1]), 10, 64)
		if err != nil {
			return 0, nil, err
		}
		if first == 0 {
			first = ms(now.Sub(begin))
		}
		lag = append(lag, ms(now.Sub(time.Unix(0, sent))))
	}
	if len(lag) != 5 {
		return 0, nil, fmt.Errorf("%d events instead of 5 (status %d)", len(lag), res.StatusCode)
	}
	return first, lag, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// propagation is the time from the start of a write by API to the data plane's word that it serves it.
type propagation struct {
	Changes int     `json:"changes"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
}

// propagation writes a server again and again over REST and waits each time until /readyz of the proxy shows the revision.
func (r *rig) propagation(ctx context.Context) (propagation, error) {
	var took []float64
	pause := time.NewTicker(100 * time.Millisecond) // longer than the control plane's debounce: each change travels alone
	defer pause.Stop()
	for i := range 200 {
		<-pause.C
		begin := time.Now()
		rev, err := r.put(ctx, i)
		if err != nil {
			return propagation{}, err
		}
		for {
			at, err := r.serves(ctx)
			if err != nil {
				return propagation{}, err
			}
			if at >= rev {
				break
			}
			if time.Since(begin) > 5*time.Second {
				return propagation{}, fmt.Errorf("change %d at revision %d wasn't served within 5 s", i, rev)
			}
		}
		took = append(took, ms(time.Since(begin)))
	}
	return propagation{Changes: len(took), P50: median(took), P99: quantile(took, 0.99)}, nil
}

func (r *rig) put(ctx context.Context, i int) (int64, error) {
	body := fmt.Sprintf(`{"objects":[{"server":{"name":"moving","spec":{"endpoints":[{"url":"http://%s/mcp?n=%d"}]}}}]}`, upstreamAddr, i)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.gate.admin()+"/v1/changes", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	req.Header.Set("Content-Type", "application/json")
	var answer struct {
		Revision string `json:"revision"`
	}
	if err := fetch(req, &answer); err != nil {
		return 0, err
	}
	return strconv.ParseInt(answer.Revision, 10, 64)
}

func (r *rig) serves(ctx context.Context) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.gate.mcp()+"/readyz", nil)
	if err != nil {
		return 0, err
	}
	var answer struct {
		Revision int64 `json:"revision"`
	}
	return answer.Revision, fetch(req, &answer)
}

func fetch(req *http.Request, into any) error {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %d %s", req.URL, res.StatusCode, b)
	}
	return json.NewDecoder(bytes.NewReader(b)).Decode(into)
}

// profile takes a CPU profile of the proxy during one more round.
func (r *rig) profile(ctx context.Context, file string) error {
	done := make(chan error, 1)
	go func() {
		p, err := r.post("profile", r.hopgate, &r.gate, callBody, "")
		if err == nil {
			_, err = r.wrk(ctx, p, 8*time.Second)
		}
		done <- err
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.gate.metrics()+"/debug/pprof/profile?seconds=6", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if err := <-done; err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}
