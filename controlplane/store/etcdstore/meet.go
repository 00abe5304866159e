package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// meetFor is how long a note is there after its handle was last heard of, give or take the half second after which etcd looks.
const meetFor = 5 * time.Second

// errLost ends a meeting without its note.
var errLost = errors.New("the note of this control plane is gone: its lease has ended, or somebody removed it")

// Meet keeps a note of this handle; see store.Store.
func (s *Store) Meet(ctx context.Context, m store.Meeting) error {
	client, err := s.opened()
	if err != nil {
		return err
	}
	text := m.Note()
	if err := store.CheckNote(text); err != nil {
		return err
	}
	r := &meeting{s: s, client: client, m: m, board: board{}, text: string(text)}
	r.own.Key = namedKeys(meetings, m.Name) + s.replica.String()
	r.stay = stay{s: s, client: client, doing: "meet", length: s.backend.meetFor}
	if s.backend.alone {
		return r.alone(ctx)
	}
	err = r.run(ctx)
	if ctx.Err() == nil && r.heard {
		delete(r.board, r.own.Key)
		m.Heard(r.board.notes(store.Fence{}))
	}
	if ctx.Err() != nil || !errors.Is(err, store.ErrUnavailable) { // otherwise the store is why, and the lease is what counts
		r.stay.leave(ctx)
	}
	return err
}

// meeting is one running Meet.
type meeting struct {
	s      *Store
	client *clientv3.Client
	m      store.Meeting
	text   string
	stay   stay

	own   store.Fence // without a revision: it isn't there yet
	board board
	heard bool // Heard was called with the own note
}

func (r *meeting) run(ctx context.Context) error {
	from, err := r.arrive(ctx)
	if err != nil {
		return err
	}
	answers, stop := r.s.listen(ctx, r.client, meetings, from+1)
	defer stop()
	if err := r.say(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(r.stay.length / 3)
	defer tick.Stop()
	for {
		select {
		case answer, open := <-answers:
			err = r.hear(ctx, &answer, open)
		case <-r.m.Turned:
			err = r.turn(ctx)
		case <-tick.C:
			if err = r.stay.renew(ctx, r.left()); err == nil && r.stay.lease == 0 {
				err = r.lost()
			}
		}
		if err != nil {
			return err
		}
	}
}

// left is how long to wait for an answer: less than the lease, for whoever can't renew it must know that before another leads.
func (r *meeting) left() time.Duration { return time.Until(r.stay.known.Add(r.stay.length * 2 / 3)) }

func (r *meeting) lost() error { return r.stay.failed(context.Background(), errLost) }

// arrive takes away what an earlier Meet of this handle left behind, and reads the notes. It returns their revision.
func (r *meeting) arrive(ctx context.Context) (int64, error) {
	within, cancel := r.s.bound(ctx, r.s.backend.readWithin)
	defer cancel()
	resp, err := r.client.Txn(within).Then(clientv3.OpDelete(r.own.Key), clientv3.OpGet(meetings, clientv3.WithPrefix())).Commit()
	if err != nil {
		return 0, r.stay.failed(ctx, err)
	}
	for _, kv := range resp.Responses[1].GetResponseRange().GetKvs() {
		r.board.put(kv)
	}
	return resp.Header.Revision, nil
}

// say puts the note, the first time and when its text is another. It must be the one that was put before.
func (r *meeting) say(ctx context.Context) error {
	wait := r.s.backend.readWithin
	if r.own.Created != 0 {
		wait = r.left()
	}
	within, cancel := r.s.bound(ctx, wait)
	defer cancel()
	if err := r.stay.begin(within); err != nil {
		return r.stay.failed(ctx, err)
	}
	resp, err := r.client.Txn(within).If(clientv3.Compare(clientv3.CreateRevision(r.own.Key), "=", r.own.Created)).
		Then(clientv3.OpPut(r.own.Key, r.text, clientv3.WithLease(r.stay.lease))).Commit()
	switch err = r.stay.took(ctx, err); {
	case err != nil:
		return err
	case resp == nil || !resp.Succeeded:
		return r.lost()
	case r.own.Created == 0:
		r.own.Created = resp.Header.Revision
	}
	return nil
}

// turn asks what there is to say, and says it if that is new.
func (r *meeting) turn(ctx context.Context) error {
	text := r.m.Note()
	if err := store.CheckNote(text); err != nil || string(text) == r.text {
		return err
	}
	r.text = string(text)
	return r.say(ctx)
}

// hear takes what was written in one or more transactions and passes all notes on, unless the own isn't among them.
func (r *meeting) hear(ctx context.Context, answer *clientv3.WatchResponse, open bool) error {
	if err := ended(answer, open); err != nil {
		return r.stay.failed(ctx, err)
	}
	if len(answer.Events) == 0 { // progress that another watch asked for
		return nil
	}
	for _, e := range answer.Events {
		if e.Type == clientv3.EventTypePut {
			r.board.put(e.Kv)
			continue
		}
		delete(r.board, string(e.Kv.Key))
	}
	switch there := r.board[r.own.Key].fence == r.own; {
	case !there && r.heard:
		return r.lost()
	case there:
		r.heard = true
		r.m.Heard(r.board.notes(r.own))
	}
	return nil
}

// alone meets nobody, so the text of its note is nobody's to read and its key needs no lease: what a killed process left is removed.
func (r *meeting) alone(ctx context.Context) error {
	if err := r.claim(ctx); err != nil {
		return err
	}
	err := r.talkAlone(ctx)
	within, cancel := r.s.bound(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	_, _ = r.client.Delete(within, r.own.Key) // or the next one does it
	if ctx.Err() == nil {
		r.m.Heard(nil)
	}
	return err
}

func (r *meeting) claim(ctx context.Context) error {
	within, cancel := r.s.bound(ctx, r.s.backend.readWithin)
	defer cancel()
	if _, err := r.client.Delete(within, meetings, clientv3.WithPrefix()); err != nil {
		return r.stay.failed(ctx, err)
	}
	resp, err := r.client.Put(within, r.own.Key, "")
	if err != nil {
		return r.stay.failed(ctx, err)
	}
	r.own.Created = resp.Header.Revision
	return nil
}

func (r *meeting) talkAlone(ctx context.Context) error {
	for {
		r.m.Heard([]store.Note{{Name: r.m.Name, Text: []byte(r.text), Own: true, Fence: r.own}})
		for same := true; same; {
			select {
			case <-r.m.Turned:
				text := r.m.Note()
				if err := store.CheckNote(text); err != nil {
					return err
				}
				same, r.text = string(text) == r.text, string(text)
			case <-ctx.Done():
				return fmt.Errorf("meet: %w", ctx.Err())
			case <-r.s.life.Done():
				return errClosed
			}
		}
	}
}
