package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// size is how much config there is beside the object that changes.
type size struct{ servers, keys int }

var configs = map[string]size{"small": {servers: 5, keys: 4}, "large": {servers: 2000, keys: 100000}}

// perChange is how many objects an embedded store takes at once.
const perChange = 1000

// fill writes a config and returns its revision.
func fill(ctx context.Context, api adminv1.AdminServiceClient, s size) (revision int64, err error) {
	var batch []*adminv1.Object
	flush := func() error {
		c, err := api.CreateChange(ctx, &adminv1.CreateChangeRequest{Objects: batch})
		revision, batch = c.GetRevision(), nil
		return err
	}
	for i := range s.servers + s.keys {
		if i < s.servers {
			batch = append(batch, server(fmt.Sprintf("server_%04d", i), 200))
		} else {
			batch = append(batch, key(i-s.servers))
		}
		if len(batch) == perChange {
			if err := flush(); err != nil {
				return 0, err
			}
		}
	}
	batch = append(batch, server(moving, 700))
	err = flush()
	return revision, err
}

// moving is the object that changes.
const moving = "moving"

// server has a header of so many random characters, so that it is never what it was.
func server(name string, length int) *adminv1.Object {
	text := make([]byte, length)
	for i := range text {
		text[i] = byte('a' + rand.N(26))
	}
	spec := &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: "http://127.0.0.1:9/mcp"}},
		Headers: []*configv1.Header{{Name: "x-note", Text: string(text)}}}
	return &adminv1.Object{Object: &adminv1.Object_Server{Server: &configv1.Server{Name: name, Spec: spec}}}
}

func key(i int) *adminv1.Object {
	sum := sha256.Sum256(fmt.Appendf(nil, "fanout %d", i))
	spec := &configv1.ApiKeySpec{Sha256: hex.EncodeToString(sum[:]), Servers: []string{fmt.Sprintf("server_%04d", i%2000)}}
	return &adminv1.Object{Object: &adminv1.Object_Apikey{Apikey: &configv1.ApiKey{Name: fmt.Sprintf("key_%06d", i), Spec: spec}}}
}
