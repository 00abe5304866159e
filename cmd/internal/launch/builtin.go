package launch

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/cmd/internal/demo"
	"github.com/hopgate/hopgate/cmd/internal/operator"
	"github.com/hopgate/hopgate/cmd/internal/process"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// The demo's objects bear this label, so that an operator's own of the same name are left alone.
const (
	builtin  = "hopgate.dev/builtin"
	demoName = "demo"
)

// bootDemo starts the demo server with a tracer of its own: it is another service of the same trace.
func (o *one) bootDemo(ctx context.Context, g *process.Group) error {
	u := o.up
	tracing, err := process.StartTracing(ctx, process.TracingConfig{Service: "hopgate-demo", Instance: demoName, Region: u.Region, Log: u.Log})
	if err != nil {
		return err
	}
	g.Add("demo traces", tracing.Run)
	o.demo = demo.New(demo.Config{Tracer: tracing.Provider(), Version: process.ThisBuild().Version})
	if err := o.demo.Open(ctx); err != nil {
		return err
	}
	g.Add("demo server", o.demo.Run)
	return nil
}

// settleDemo writes the demo server and a key for it through the API, like any operator would, or removes them when a former start left them
// and this one has no demo. It returns the revision with that, 0 when there was nothing to do.
func (o *one) settleDemo(ctx context.Context, admin *operator.Client) (int64, error) {
	left, err := o.demoObjects(ctx, admin)
	if err != nil {
		return 0, err
	}
	req := &adminv1.CreateChangeRequest{Message: "demo server"}
	if o.demo != nil {
		if req.Objects, err = o.offer(); err != nil {
			return 0, err
		}
	} else {
		req.Message, req.Deletions = "demo server removed", left
	}
	if len(req.Objects)+len(req.Deletions) == 0 {
		return 0, nil
	}
	change, err := admin.CreateChange(ctx, req)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", req.Message, operator.Explain(err))
	}
	return change.GetRevision(), nil
}

// demoObjects are the demo's objects in the store. An operator's own object of that name is an error if the demo wants the name.
func (o *one) demoObjects(ctx context.Context, admin *operator.Client) ([]*adminv1.ObjectName, error) {
	var ours []*adminv1.ObjectName
	for _, kind := range []string{"server", operator.Key} {
		_, rows, err := operator.Get(ctx, admin, kind, "")
		if err != nil {
			return nil, err
		}
		for _, m := range rows {
			name, labels := labelled(m)
			switch {
			case labels[builtin] == demoName:
				ours = append(ours, &adminv1.ObjectName{Kind: kind, Name: name})
			case name == demoName && o.demo != nil:
				return nil, fmt.Errorf("--demo: there is a %s named %s that isn't the built-in one; give it another name, or start without --demo", kind, demoName)
			}
		}
	}
	return ours, nil
}

func labelled(m proto.Message) (name string, labels map[string]string) {
	type object interface {
		GetName() string
		GetLabels() map[string]string
	}
	if o, ok := m.(object); ok {
		return o.GetName(), o.GetLabels()
	}
	return "", nil
}

// offer are the demo's objects. The key is kept in the data directory, so that every start can show a call that works.
func (o *one) offer() ([]*adminv1.Object, error) {
	b, _, err := process.SecretFile(filepath.Join(o.up.DataDir, "demo.key"), func() ([]byte, error) { return []byte(operator.Secret()), nil })
	if err != nil {
		return nil, fmt.Errorf("demo key: %w", err)
	}
	o.demoKey = strings.TrimSpace(string(b))
	labels := map[string]string{builtin: demoName}
	server := &configv1.Server{Name: demoName, Labels: labels, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: o.demo.URL()}}}}
	key := &configv1.ApiKey{Name: demoName, Labels: labels, Spec: &configv1.ApiKeySpec{
		Sha256: operator.Digest(o.demoKey), User: demoName, Servers: []string{demoName}, Roles: []string{"debug"}, TrustTraceContext: true}}
	return []*adminv1.Object{{Object: &adminv1.Object_Server{Server: server}}, {Object: &adminv1.Object_Apikey{Apikey: key}}}, nil
}
