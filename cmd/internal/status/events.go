package status

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// EventsPath is the path at which a node serves the last changes of its cluster, those after
// the number in AfterParam.
const (
	EventsPath = "/cluster/events"
	AfterParam = "after"
)

// Event is a change of a cluster of nodes, as one node learnt of it.
type Event struct {
	Number   uint64    `json:"number"` // counts the events of the process, from 1
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`               // "started", "state", "fenced", "unfenced", "assigned", "led", "ended", "journals", "level"
	Node     *int32    `json:"node"`               // broker id
	Journal  *uint32   `json:"journal"`            // 0: the one of metadata, whose leader is the controller
	Epoch    *uint32   `json:"epoch"`              // of a leadership
	Took     *float64  `json:"took_seconds"`       // from the assignment until the node leads
	Why      string    `json:"why,omitempty"`      // the state of a node, the evidence, or the reason
	Level    uint32    `json:"level,omitempty"`    // feature level, of "level"
	Journals uint32    `json:"journals,omitempty"` // their number, of "journals"
}

// String describes the event in words.
func (e Event) String() string {
	node := "no node"
	if e.Node != nil {
		node = fmt.Sprintf("node %d", *e.Node)
	}
	journal := "journal ?"
	if e.Journal != nil {
		journal = fmt.Sprintf("journal %d", *e.Journal)
	}
	why := ""
	if e.Why != "" {
		why = " (" + e.Why + ")"
	}
	switch e.Kind {
	case "started":
		return node + " has started"
	case "state":
		return node + " is " + e.Why
	case "fenced":
		return node + " is not counted on any more" + why
	case "unfenced":
		return node + " is counted on again"
	case "assigned":
		return journal + " goes to " + node + why
	case "led":
		text := node + " leads " + journal
		if e.Journal != nil && *e.Journal == 0 {
			text = node + " is the controller"
			why = ""
		}
		if e.Epoch != nil {
			text += fmt.Sprintf(" in epoch %d", *e.Epoch)
		}
		text += why
		if e.Took != nil {
			text += fmt.Sprintf(", after %.3g s", *e.Took)
		}
		return text
	case "ended":
		return node + " leads " + journal + " no more" + why
	case "journals":
		return fmt.Sprintf("the cluster has %d journals", e.Journals)
	case "level":
		return fmt.Sprintf("the feature level is %d", e.Level)
	}
	return strings.TrimSpace(e.Kind + " " + node + why)
}

// AskEvents reads the events after a number from the node at address, host:port.
func AskEvents(ctx context.Context, address string, after uint64) (events []Event, err error) {
	err = get(ctx, address, EventsPath+"?"+AfterParam+"="+strconv.FormatUint(after, 10), &events)
	return events, err
}
