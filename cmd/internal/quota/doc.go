// Package quota tests fleet-wide limits with both planes: the data planes' buckets and the control plane's ledger, in virtual time and over
// real streams. It holds tests only, since the planes may not import each other.
package quota
