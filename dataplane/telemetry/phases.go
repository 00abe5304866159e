package telemetry

import "time"

// phases are how long each step of a request took; negative: it didn't happen, or isn't over.
type phases struct {
	auth, read, route, credential      time.Duration
	dns, connect, tls, first, upstream time.Duration
	total                              time.Duration
}

const none = time.Duration(-1)

func between(from, to time.Time) time.Duration {
	if from.IsZero() || to.IsZero() {
		return none
	}
	return max(to.Sub(from), 0)
}

// phasesAt reads the record; now stands in for ends that are still open.
func phasesAt(r *Record, now time.Time) phases {
	u := &r.Upstream
	p := phases{
		auth: between(r.Start, r.AuthEnd), read: between(r.AuthEnd, r.Read), route: between(routeStart(r), routeEnd(r)),
		credential: between(r.Credential.Start, r.Credential.End),
		dns:        between(u.DNSStart, u.DNSDone), connect: between(u.ConnStart, u.ConnDone), tls: between(u.TLSStart, u.TLSDone),
		first: between(u.Sent, firstByte(u)), upstream: none, total: between(r.Start, now),
	}
	if !u.Start.IsZero() {
		end := u.End
		if end.IsZero() {
			end = now
		}
		p.upstream = between(u.Start, end)
	}
	return p
}

// routeEnd is when the request was settled but for the credential, which has a step of its own.
func routeEnd(r *Record) time.Time {
	if !r.Credential.Start.IsZero() {
		return r.Credential.Start
	}
	return r.Routed
}

func routeStart(r *Record) time.Time {
	switch {
	case !r.Read.IsZero():
		return r.Read
	case !r.AuthEnd.IsZero():
		return r.AuthEnd
	}
	return r.Start
}

func firstByte(u *Timing) time.Time {
	if u.First.IsZero() {
		return u.Headers
	}
	return u.First
}

// appendMS appends d in milliseconds with three decimals.
func appendMS(dst []byte, d time.Duration) []byte {
	us := int64(d / time.Microsecond)
	dst = appendInt(dst, us/1000)
	us %= 1000
	return append(dst, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
}

// appendTenth appends d in milliseconds with one decimal, rounded.
func appendTenth(dst []byte, d time.Duration) []byte {
	t := int64((d + 50*time.Microsecond) / (100 * time.Microsecond))
	dst = appendInt(dst, t/10)
	return append(dst, '.', byte('0'+t%10))
}
