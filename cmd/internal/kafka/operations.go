package kafka

import "math"

// The operations that a client may carry out on a resource, as bits (KIP-430).
// There is no authorization: they are all, as of Kafka without an authorizer. A
// client that did not ask gets notAsked.
const (
	topicOperations   = 3576 // read, write, create, delete, alter, describe, and both of configs
	clusterOperations = 8096 // create, alter, describe, cluster action, both of configs, idempotent write
	groupOperations   = 3400 // read, delete, describe, and both of configs
	notAsked          = math.MinInt32
)

// operations is which of all there are a client is shown.
func operations(asked bool, all int32) int32 {
	if asked {
		return all
	}
	return notAsked
}
