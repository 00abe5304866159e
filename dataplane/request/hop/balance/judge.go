package balance

import "time"

const (
	// lately is how long an answer to another call shows that the instance answers, at least.
	lately = time.Second
	// about is how exactly is known when an instance answered.
	about = 10 * time.Millisecond
)

// Blame says why the exchange failed, for those who ask while the breaker is open. It is kept only if the verdict that follows counts as a
// failure, and of it where and how it failed and the words for callers, cut to 160 bytes: no cause, no address. An error that is no fault is the
// end of the time there was.
func (l *Lease) Blame(err error) { l.why = blamed(err) }

// Judge tells what the exchange showed that began at one time and, if the verdict is Alive, was answered at the other (zero: now). Silent counts
// as Failed, unless the instance answered another call since it began, or just before.
func (l *Lease) Judge(verdict Verdict, began, answered time.Time) {
	b := l.server.balance
	switch {
	case verdict == Alive && !answered.IsZero():
		l.instance.heard(answered.Sub(b.start))
	case verdict == Alive:
		l.instance.heard(b.now().Sub(b.start))
	case verdict == Silent:
		verdict = Failed
		since := min(began.Sub(b.start), b.now().Sub(b.start)-lately)
		if at := l.instance.answered.Load(); at != 0 && at > int64(since) {
			verdict = Nothing
		}
	}
	l.Settle(verdict)
}

// heard notes when the instance answered. The line it stands in is written now and then only, however many calls there are.
func (i *Instance) heard(at time.Duration) {
	n := int64(max(at, 1))
	if last := i.answered.Load(); last == 0 || n-last > int64(about) {
		i.answered.Store(n)
	}
}

// Settle is Judge for who knows of no times: a probe.
func (l *Lease) Settle(verdict Verdict) {
	k, r := &l.instance.breaker, &l.server.Config.Resilience
	switch verdict {
	case Alive:
		k.succeed(l.trial)
	case Failed, Silent:
		b := l.server.balance
		if l.why != nil {
			k.why.Store(l.why)
		}
		if k.fail(b.now(), l.trial, r.BreakerFailures, r.BreakerOpen, b.random()) {
			b.opened.Add(1)
		}
	case Nothing:
		if l.trial {
			k.spare(false)
		}
	}
}

// Release ends the exchange.
func (l *Lease) Release() { l.instance.inFlight.Add(-1) }
