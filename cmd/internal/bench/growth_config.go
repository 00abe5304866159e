package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// extent is how much a gateway has: servers, of which the first so many are in the one access group that the bench's key is granted, tools in the
// list of the first of them, toolsets, keys, and event streams that stay open.
type extent struct{ servers, inGroup, tools, toolsets, keys, streams int }

// startFilled starts a gateway whose data plane finds all of the config there.
func (r *rig) startFilled(ctx context.Context, g *gate, e extent) (err error) {
	if err := r.startControl(ctx, g); err != nil {
		return err
	}
	api, err := operator.Connect(operator.Access{API: "http://" + g.admin(), Key: r.key})
	if err != nil {
		return err
	}
	defer api.Close() //nolint:errcheck // only read from now on
	if err := r.fill(ctx, api, e); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	if err := r.startProxy(ctx, g); err != nil {
		return err
	}
	return poll(ctx, g.name+" config", func() error {
		_, _, err := r.request(ctx, "http://"+g.mcp()+"/"+growthServer(0)+"/mcp", toolCall("tool_00"), "")
		return err
	})
}

// perChange is how many objects an embedded store takes at once.
const perChange = 1000

// fill writes a config in as many changes as it needs.
func (r *rig) fill(ctx context.Context, api adminv1.AdminServiceClient, e extent) error {
	var batch []*adminv1.Object
	flush := func() error {
		_, err := api.CreateChange(ctx, &adminv1.CreateChangeRequest{Objects: batch})
		batch = nil
		return err
	}
	batch = append(batch, growthSettings(e))
	for i := range e.servers + e.toolsets + e.keys {
		switch {
		case i < e.servers:
			batch = append(batch, growthObject(i, e))
		case i < e.servers+e.toolsets:
			batch = append(batch, growthToolset(i-e.servers, e))
		default:
			batch = append(batch, r.growthKey(i-e.servers-e.toolsets, e))
		}
		if len(batch) == perChange {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func growthServer(i int) string { return fmt.Sprintf("server_%04d", i) }

func growthObject(i int, e extent) *adminv1.Object {
	path, groups := growthServer(i), []string{fmt.Sprintf("group_%02d", i%100)}
	if i < e.inGroup {
		groups = append(groups, "crowd")
	}
	switch {
	case i == 0 && e.tools > manyTools:
		path = longPath
	case i == growthQuiet && e.streams > 0:
		path = quietPath
	}
	at := []*configv1.Endpoint{{Url: "http://" + upstreamAddr + "/many/" + path}}
	spec := &configv1.ServerSpec{Endpoints: at, AccessGroups: groups, ListTtl: "10m"}
	return &adminv1.Object{Object: &adminv1.Object_Server{Server: &configv1.Server{Name: growthServer(i), Spec: spec}}}
}

// growthQuiet is the server at which the streams are, beside the one that is called.
const growthQuiet = 1

func growthSettings(e extent) *adminv1.Object {
	spec := &configv1.SettingsSpec{Tracing: &configv1.Tracing{SampleRatio: "0.01"}}
	if e.streams > 0 {
		spec.Limits = &configv1.Limits{StreamsPerPrincipal: int32(e.streams)} //nolint:gosec // a few thousand
	}
	return &adminv1.Object{Object: &adminv1.Object_Settings{Settings: &configv1.Settings{Name: "default", Spec: spec}}}
}

func growthToolset(i int, e extent) *adminv1.Object {
	spec := &configv1.ToolsetSpec{}
	for j := range 20 {
		spec.Tools = append(spec.Tools, &configv1.ToolsetTool{Server: growthServer((i + j) % e.servers), Tool: fmt.Sprintf("tool_%02d", j)})
	}
	return &adminv1.Object{Object: &adminv1.Object_Toolset{Toolset: &configv1.Toolset{Name: fmt.Sprintf("toolset_%03d", i), Spec: spec}}}
}

// growthKey is the bench's own key for 0; the others have grants of all kinds.
func (r *rig) growthKey(i int, e extent) *adminv1.Object {
	spec := &configv1.ApiKeySpec{Sha256: sha256Hex(r.key), Groups: []string{"crowd"}}
	if i > 0 {
		sum := sha256.Sum256(fmt.Appendf(nil, "growth %d", i))
		spec = &configv1.ApiKeySpec{Sha256: hex.EncodeToString(sum[:]), Servers: []string{growthServer(i % e.servers)},
			Groups: []string{fmt.Sprintf("group_%02d", i%100)}, Toolsets: []string{fmt.Sprintf("toolset_%03d", i%e.toolsets)}}
	}
	return &adminv1.Object{Object: &adminv1.Object_Apikey{Apikey: &configv1.ApiKey{Name: fmt.Sprintf("key_%06d", i), Spec: spec}}}
}
