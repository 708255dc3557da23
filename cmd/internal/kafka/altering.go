package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// alterWait limits how long altering configs may take: the requests carry no
// time-out, and clients wait for 30 seconds or more.
const alterWait = 20 * time.Second

// resource is a topic or broker with configs.
type resource struct {
	kind kmsg.ConfigResourceType
	name string
}

// alteration is the changes that a request makes to one resource.
type alteration struct {
	resource
	ops   []metadata.ConfigOp
	named map[string]bool // in ops
	bad   error           // its error, if it is wrong in itself
}

// add adds the change of one config.
func (a *alteration) add(kind metadata.OpKind, name string, value *string) {
	op := metadata.ConfigOp{Kind: kind, Name: name}
	if a.named == nil {
		a.named = map[string]bool{}
	}
	if a.named[name] {
		a.bad = coded(kerr.InvalidRequest, "config %q is given twice", name)
	}
	a.named[name] = true
	switch {
	case kind < metadata.OpSet || kind > metadata.OpSubtract:
		a.bad = coded(kerr.InvalidRequest, "unknown operation %d on config %q", kind, name)
	case value != nil:
		op.Value = *value
	case kind != metadata.OpDelete:
		a.bad = coded(kerr.InvalidRequest, "config %q has no value; delete it for the default", name)
	}
	a.ops = append(a.ops, op)
}

// alter changes the configs of topics and brokers. With replace, configs that are not named go back to their
// defaults.
func (s *configService) alter(ctx context.Context, by *listener.Client, all []alteration, replace, validateOnly bool) []error {
	errs := make([]error, len(all))
	asked := make(map[resource]int, len(all))
	for _, a := range all {
		asked[a.resource]++
	}
	var changes []metadata.ConfigChange
	var slots []*error
	for i, a := range all {
		switch {
		case asked[a.resource] > 1:
			errs[i] = coded(kerr.InvalidRequest, "%s %q stands %d times in the request", a.kind, a.name, asked[a.resource])
		case a.bad != nil:
			errs[i] = a.bad
		case a.kind == kmsg.ConfigResourceTypeTopic:
			if errs[i] = s.gate.topicName(by, toAlterConfigs, a.name); errs[i] != nil {
				continue
			}
			changes = append(changes, metadata.ConfigChange{Topic: a.name, Replace: replace, Ops: a.ops})
			slots = append(slots, &errs[i])
		case a.kind == kmsg.ConfigResourceTypeBroker:
			errs[i] = s.alterBroker(ctx, by, a, validateOnly)
		default:
			errs[i] = coded(kerr.InvalidRequest, "there are no configs of %s resources here", a.kind)
		}
	}
	if len(changes) > 0 {
		for i, err := range s.admin.AlterConfigs(ctx, changes, validateOnly) {
			*slots[i] = err
		}
	}
	return errs
}
