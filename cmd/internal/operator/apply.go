package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Apply is one declarative change.
type Apply struct {
	Documents []rules.Document
	Message   string
	// Owner makes the objects belong to a file; empty: to nobody.
	Owner string
	// Deletions go with the change.
	Deletions []*adminv1.ObjectName
	// Set is the set that the documents are from now on: what else belongs to it is deleted. Empty: nothing is.
	Set string
	// PruneMany lets that delete surprisingly much.
	PruneMany bool
	// Rollout says how the change reaches the fleet; nil: everywhere at once.
	Rollout *adminv1.RolloutPlan
	// DryRun checks and stores nothing.
	DryRun bool
	// Wait returns when every connected data plane has answered, and fails if one refused; a staged change is waited for until it has ended. 0
	// doesn't wait.
	Wait time.Duration
}

// Run sends the change, says what became of it on out, and returns it as the control plane recorded it.
func (a *Apply) Run(ctx context.Context, c adminv1.AdminServiceClient, out io.Writer) (*adminv1.Change, error) {
	change, err := a.send(ctx, c)
	if err != nil {
		return nil, err
	}
	a.print(out, change)
	if a.DryRun || a.Wait == 0 || change.GetId() == "" {
		return change, nil
	}
	if change.GetRollout() != nil {
		return change, waitRollout(ctx, c, change.GetId(), a.Wait, out)
	}
	return change, wait(ctx, c, change.GetId(), a.Wait, out)
}

func (a *Apply) send(ctx context.Context, c adminv1.AdminServiceClient) (*adminv1.Change, error) {
	req := &adminv1.CreateChangeRequest{Message: a.Message, ValidateOnly: a.DryRun, Owner: a.Owner, Deletions: a.Deletions, Set: a.Set,
		Prune: a.Set != "", PruneMany: a.PruneMany, Rollout: a.Rollout}
	for _, d := range a.Documents {
		o, err := wrap(d.Message)
		if err != nil {
			return nil, err
		}
		req.Objects = append(req.Objects, o)
	}
	change, err := c.CreateChange(ctx, req)
	if err != nil {
		return nil, explainPrune(err)
	}
	return change, nil
}

// explainPrune is Explain with the flag that confirms a prune of much.
func explainPrune(err error) error {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == "PRUNE_MANY" {
			return fmt.Errorf("%w (--prune-many)", Explain(err))
		}
	}
	return Explain(err)
}

// print lists the objects of the request with what became of each.
func (a *Apply) print(out io.Writer, change *adminv1.Change) {
	changed := map[string]string{}
	for _, o := range change.GetObjects() {
		changed[o.GetKind()+"/"+o.GetName()] = o.GetAction()
	}
	suffix := ""
	if a.DryRun {
		suffix = " (dry run)"
	}
	for _, d := range a.Documents {
		key := d.Kind + "/" + d.Name
		action := changed[key]
		if action == "" {
			action = "unchanged"
		}
		fmt.Fprintf(out, "%s %s%s\n", key, action, suffix)
		delete(changed, key)
	}
	for _, d := range a.Deletions {
		if action := changed[d.GetKind()+"/"+d.GetName()]; action != "" {
			fmt.Fprintf(out, "%s/%s %s%s\n", d.GetKind(), d.GetName(), action, suffix)
		}
	}
	for _, o := range change.GetObjects() {
		if o.GetPruned() {
			fmt.Fprintf(out, "%s/%s pruned%s\n", o.GetKind(), o.GetName(), suffix)
		}
	}
	if change.GetId() != "" {
		fmt.Fprintf(out, "change %s at revision %d\n", change.GetId(), change.GetRevision())
	}
	a.printRollout(out, change)
}

// printRollout says of a staged change in which steps it goes, and how to follow it.
func (a *Apply) printRollout(out io.Writer, change *adminv1.Change) {
	r := change.GetRollout()
	if r == nil {
		return
	}
	names := make([]string, len(r.GetSteps()))
	for i, s := range r.GetSteps() {
		names[i] = s.GetName()
	}
	line := fmt.Sprintf("staged by %s in %d steps: %s", r.GetPlan().GetStrategy(), len(names), strings.Join(names, ", "))
	if a.DryRun {
		fmt.Fprintln(out, clean(line)+" (dry run)")
		return
	}
	fmt.Fprintln(out, clean(line))
	if a.Wait == 0 {
		fmt.Fprintf(out, "follow it: hopgate rollout status %s --watch; take it back: hopgate rollout abort %s\n", change.GetId(), change.GetId())
	}
}

func wrap(m proto.Message) (*adminv1.Object, error) {
	switch m := m.(type) {
	case *configv1.Server:
		return &adminv1.Object{Object: &adminv1.Object_Server{Server: m}}, nil
	case *configv1.ApiKey:
		return &adminv1.Object{Object: &adminv1.Object_Apikey{Apikey: m}}, nil
	case *configv1.Team:
		return &adminv1.Object{Object: &adminv1.Object_Team{Team: m}}, nil
	case *configv1.Toolset:
		return &adminv1.Object{Object: &adminv1.Object_Toolset{Toolset: m}}, nil
	case *configv1.Ingress:
		return &adminv1.Object{Object: &adminv1.Object_Ingress{Ingress: m}}, nil
	case *configv1.IdentityProvider:
		return &adminv1.Object{Object: &adminv1.Object_Identityprovider{Identityprovider: m}}, nil
	case *configv1.Secret:
		return &adminv1.Object{Object: &adminv1.Object_Secret{Secret: m}}, nil
	case *configv1.Settings:
		return &adminv1.Object{Object: &adminv1.Object_Settings{Settings: m}}, nil
	case *configv1.Overlay:
		return &adminv1.Object{Object: &adminv1.Object_Overlay{Overlay: m}}, nil
	}
	return nil, fmt.Errorf("%T can't be applied", m)
}

// Data planes answer within tens of milliseconds or after a while: the first questions come fast.
const (
	askFirst = 10 * time.Millisecond
	askLast  = time.Second
)

// wait asks for the change until every connected data plane has answered.
func wait(ctx context.Context, c adminv1.AdminServiceClient, id string, limit time.Duration, out io.Writer) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last *adminv1.Delivery
	for pause := askFirst; ; pause = min(2*pause, askLast) {
		change, err := c.GetChange(bounded, &adminv1.GetChangeRequest{Id: id})
		switch {
		case err == nil:
			last = change.GetDelivery()
		case bounded.Err() == nil:
			return Explain(err)
		}
		if err == nil && last.GetPending() == 0 {
			return delivered(last, out)
		}
		select {
		case <-bounded.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("stopped waiting; the change %s stays in force", id)
			}
			return fmt.Errorf("after %s %d of %d data planes haven't answered; the change %s stays in force", limit, last.GetPending(), last.GetNodes(), id)
		case <-time.After(pause):
		}
	}
}

func delivered(d *adminv1.Delivery, out io.Writer) error {
	fmt.Fprintf(out, "served by %d of %d data planes\n", d.GetApplied(), d.GetNodes())
	for _, r := range d.GetRefusals() {
		word := "warned about"
		if r.GetRejected() {
			word = "refused"
		}
		fmt.Fprintf(out, "%s %s: %s: %s\n", r.GetNode(), word, r.GetField(), r.GetText())
	}
	if d.GetRejected() > 0 {
		return errors.New("data planes refused a part of the change and keep what they had")
	}
	return nil
}
