package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// PrintFleet writes the fleet as a table, and below it what relays pass on, and everything that a data plane refused or warned about.
func PrintFleet(w io.Writer, fleet *adminv1.ListNodesResponse) error {
	fmt.Fprintf(w, "desired revision %d, %d data planes\n", fleet.GetRevision(), len(fleet.GetNodes()))
	if len(fleet.GetNodes()) == 0 {
		return nil
	}
	if err := printTable(w, NodeHead, messages(fleet.GetNodes())); err != nil {
		return err
	}
	for _, n := range fleet.GetNodes() {
		if n.GetRelay() {
			fmt.Fprintln(w, clean(fmt.Sprintf("%s is a relay: %d data planes are connected to it, %d of them behind", n.GetNode(), n.GetRelayed(), n.GetRelayedBehind())))
		}
		if n.GetRefused() != "" {
			fmt.Fprintln(w, clean(fmt.Sprintf("%s took nothing of its newest update: %s", n.GetNode(), n.GetRefused())))
		}
		for _, r := range n.GetRejected() {
			word := "warns about"
			if r.GetRejected() {
				word = "refuses"
			}
			fmt.Fprintln(w, clean(fmt.Sprintf("%s %s %s/%s: %s: %s (for %s)", n.GetNode(), word, r.GetKind(), r.GetName(), r.GetField(), r.GetText(), age(r.GetSince()))))
		}
		printAmiss(w, n)
	}
	return nil
}

// printAmiss writes where a data plane sends nothing, and what it sees changed.
func printAmiss(w io.Writer, n *adminv1.Node) {
	for _, u := range n.GetUpstreams() {
		if len(u.GetOpen()) > 0 {
			fmt.Fprintln(w, clean(fmt.Sprintf("%s sends no calls of the server %s to %s: it couldn't be reached or didn't answer", n.GetNode(), u.GetServer(),
				strings.Join(u.GetOpen(), ", "))))
		}
		if len(u.GetDrifted()) > 0 {
			fmt.Fprintln(w, clean(fmt.Sprintf("%s sees that pinned tools of the server %s have changed: %s; look at them: hopgate tools %s --pins", n.GetNode(),
				u.GetServer(), strings.Join(u.GetDrifted(), ", "), u.GetServer())))
		}
	}
}

// PrintCondition writes what is amiss with the control plane itself and what to do about it, a line each; nothing when all is well. Of a relay
// it also says whose it is.
func PrintCondition(w io.Writer, info *adminv1.Info) {
	stale := (time.Duration(info.GetStaleSeconds()) * time.Second).String()
	if up := info.GetUpstream(); up != "" {
		fmt.Fprintln(w, clean("this is a relay of "+up))
		if info.GetStaleSeconds() > 0 {
			fmt.Fprintln(w, "its control plane has been out of reach for "+stale+": the data planes keep what they have; see that the relay reaches it")
		}
	} else if info.GetStaleSeconds() > 0 {
		fmt.Fprintln(w, "the store has been out of reach for "+stale+": nothing can be changed, the data planes keep what they have; see that the control plane reaches it")
	}
	if n := info.GetHeldRemovals(); n > 0 {
		fmt.Fprintf(w, "%d removals are held, because the store lost these objects without a change that says so; the data planes keep them\n"+
			"  see them: hopgate removals; let them go: hopgate removals confirm %d; or put the objects back: hopgate apply\n", n, n)
	}
}

// fleetStatus is what scripts get: the fleet as the API tells it, and how its control plane does, each number also when it is 0.
type fleetStatus struct {
	Nodes        []json.RawMessage `json:"nodes"`
	Revision     int64             `json:"revision,string"`
	ControlPlane condition         `json:"control_plane"`
}

// condition is how a control plane does.
type condition struct {
	Replica      string   `json:"replica"`
	Version      string   `json:"version"`
	Epoch        string   `json:"epoch"`
	Upstream     string   `json:"upstream,omitempty"`
	StaleSeconds int64    `json:"stale_seconds,string"`
	HeldRemovals int32    `json:"held_removals"`
	Held         []string `json:"held,omitempty"` // kind/name
}

// PrintStatus writes the fleet and what PrintCondition tells, as YAML or JSON.
func PrintStatus(w io.Writer, format string, fleet *adminv1.ListNodesResponse, info *adminv1.Info) error {
	s := fleetStatus{Nodes: []json.RawMessage{}, Revision: fleet.GetRevision(), ControlPlane: condition{
		Replica: info.GetReplica(), Version: info.GetVersion(), Epoch: info.GetEpoch(), Upstream: info.GetUpstream(),
		StaleSeconds: info.GetStaleSeconds(), HeldRemovals: info.GetHeldRemovals()}}
	for _, n := range fleet.GetNodes() {
		b, err := document(n)
		if err != nil {
			return err
		}
		s.Nodes = append(s.Nodes, b)
	}
	for _, o := range info.GetHeld() {
		s.ControlPlane.Held = append(s.ControlPlane.Held, o.GetKind()+"/"+o.GetName())
	}
	if format == JSON {
		return encode(w, s)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return encodeYAML(w, b)
}

// PrintRemovals writes the objects whose removals are held: a line each, or as the API tells them.
func PrintRemovals(w io.Writer, format string, info *adminv1.Info) error {
	if format != Text {
		return Print(w, format, "", messages(info.GetHeld()))
	}
	if info.GetHeldRemovals() == 0 {
		_, err := fmt.Fprintln(w, "no removals are held")
		return err
	}
	for _, o := range info.GetHeld() {
		fmt.Fprintln(w, clean(o.GetKind()+"/"+o.GetName()))
	}
	if more := int(info.GetHeldRemovals()) - len(info.GetHeld()); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	_, err := fmt.Fprintf(w, "let them go: hopgate removals confirm %d\n", info.GetHeldRemovals())
	return err
}

// ConfirmRemovals lets held removals pass if exactly count are held.
func ConfirmRemovals(ctx context.Context, c adminv1.AdminServiceClient, count int32, w io.Writer) error {
	r, err := c.ConfirmRemovals(ctx, &adminv1.ConfirmRemovalsRequest{Count: count})
	if err != nil {
		return Explain(err)
	}
	_, err = fmt.Fprintf(w, "%d removals confirmed\n", r.GetConfirmed())
	return err
}
