package journal

import "time"

// Time limits of single requests. A PUT that takes longer has an unknown
// outcome and is read back; a proof that takes longer has failed. Large objects get
// more time, so that a slow line does not try the same one forever.
const (
	putLimit    = 15 * time.Second
	getLimit    = 10 * time.Second
	objectLimit = 30 * time.Second // to read an object of the journal
	proofLimit  = time.Second

	slowest = 1 << 20 // bytes a second, beyond the first 15 MiB of a PUT
)

// Limit is how long the request of an action may take. An Executor ends the request
// then, and reports it as failed.
func Limit(a Action) time.Duration {
	switch a := a.(type) {
	case Put:
		return max(putLimit, time.Duration(len(a.Bytes.Memory.Bytes())/slowest)*time.Second)
	case Get:
		if a.Short {
			return proofLimit
		}
		return objectLimit
	}
	return getLimit
}
