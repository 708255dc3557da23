package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// groupDescription is the output of `group describe -o json` for a group.
type groupDescription struct {
	Group        string           `json:"group"`
	State        string           `json:"state"`
	ProtocolType string           `json:"protocol_type"`
	Protocol     string           `json:"protocol"`    // how partitions are given to members
	Coordinator  int32            `json:"coordinator"` // broker id
	Lag          int64            `json:"lag"`         // of the partitions that have a committed offset
	Members      []groupMember    `json:"members"`
	Partitions   []groupPartition `json:"partitions"`
}

type groupMember struct {
	ID         string               `json:"id"`
	InstanceID string               `json:"instance_id,omitempty"` // of a static member
	ClientID   string               `json:"client_id"`
	Host       string               `json:"host"`
	Partitions []partitionReference `json:"partitions"`
}

type partitionReference struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

// groupPartition is the progress of a group in a partition. Null is not known.
type groupPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed *int64 `json:"committed"` // offset of the next record to read; null without a commit
	Start     *int64 `json:"start"`
	End       *int64 `json:"end"`
	Lag       *int64 `json:"lag"` // records to read; null without a commit
	Member    string `json:"member,omitempty"`
	Error     string `json:"error,omitempty"` // reason for which a value is not known
}

func newGroupDescribe(env *Env, bootstrap *string) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "describe GROUP...",
		Short: "Show groups' progress and members",
		Long: `Show the progress of groups in each partition, and which member reads it.

COMMITTED is the offset of the next record the group will read, LAG how many offsets
lie between it and END. A partition that a member reads and for which nothing is
committed yet shows a dash.`,
		Example: `  varve group describe billing
  varve group describe billing -o json | jq '.[0].lag'`,
		Args: args(cobra.MinimumNArgs(1), "one or more group names"),
		RunE: func(cmd *cobra.Command, names []string) error {
			return withAdmin(cmd.Context(), env, *bootstrap, func(admin *kadm.Client) error {
				groups := []*groupDescription{}
				for _, name := range unique(names) {
					g, err := describeGroup(cmd.Context(), env, admin, name)
					if err != nil {
						return err
					}
					groups = append(groups, g)
				}
				if output == "json" {
					return printJSON(env.Stdout, groups)
				}
				return printGroupDescriptions(env.Stdout, groups)
			})
		},
	}
	cmd.ValidArgsFunction = completeGroups(env, bootstrap)
	outputFlag(cmd, &output, "table", "json")
	return cmd
}

var errUnknownGroup = errors.New("group does not exist")

// groupState reads the state of a group, and reads it again while its
// coordinator moves or loads. A missing group is errUnknownGroup.
func groupState(ctx context.Context, env *Env, admin *kadm.Client, name string) (g kadm.DescribedGroup, err error) {
	err = again(ctx, env, func() (err error) {
		g, err = askGroup(ctx, admin, name)
		return err
	})
	return g, err
}

func askGroup(ctx context.Context, admin *kadm.Client, name string) (kadm.DescribedGroup, error) {
	described, err := admin.DescribeGroups(ctx, name)
	g, ok := described[name]
	switch {
	case ok && g.Err == nil && g.State == groupDead, ok && errors.Is(g.Err, kerr.GroupIDNotFound):
		return g, fmt.Errorf("%w: %q; \"varve group list\" shows those that exist", errUnknownGroup, name)
	case ok && g.Err != nil:
		return g, fmt.Errorf("describe group %q: %w", name, withMessage(g.Err, g.ErrMessage))
	case err != nil:
		return g, fmt.Errorf("describe group %q: %w", name, err)
	case !ok:
		return g, fmt.Errorf("describe group %q: the broker did not answer for it", name)
	}
	return g, nil
}

func describeGroup(ctx context.Context, env *Env, admin *kadm.Client, name string) (*groupDescription, error) {
	state, err := groupState(ctx, env, admin, name)
	if err != nil {
		return nil, err
	}
	g := &groupDescription{
		Group: name, State: state.State, ProtocolType: state.ProtocolType, Protocol: state.Protocol,
		Coordinator: state.Coordinator.NodeID, Members: []groupMember{},
	}
	readers := g.addMembers(state.Members)
	var committed kadm.OffsetResponses
	err = again(ctx, env, func() (err error) {
		committed, err = committedOffsets(ctx, admin, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	partitions := committed.Partitions()
	for p := range readers {
		partitions.Add(p.Topic, p.Partition)
	}
	var start, end kadm.ListedOffsets
	err = again(ctx, env, func() (err error) {
		start, end, err = bounds(ctx, admin, partitions.Topics())
		return err
	})
	if err != nil && (start == nil || !passes(err)) { // the rows show an error that passes
		return nil, fmt.Errorf("find offsets of the topics of group %q: %w", name, err)
	}
	g.Partitions = []groupPartition{}
	for topic, byPartition := range partitions {
		for p := range byPartition {
			row := groupPartition{Topic: topic, Partition: p, Member: readers[partitionReference{topic, p}]}
			row.fill(committed, start, end)
			if row.Lag != nil {
				g.Lag += *row.Lag
			}
			g.Partitions = append(g.Partitions, row)
		}
	}
	slices.SortFunc(g.Partitions, func(a, b groupPartition) int {
		return compareRefs(partitionReference{a.Topic, a.Partition}, partitionReference{b.Topic, b.Partition})
	})
	return g, nil
}

// addMembers lists the members, and returns the reader of each partition.
func (g *groupDescription) addMembers(members []kadm.DescribedGroupMember) map[partitionReference]string {
	readers := map[partitionReference]string{}
	for _, m := range members {
		member := groupMember{ID: m.MemberID, ClientID: m.ClientID, Host: strings.TrimPrefix(m.ClientHost, "/"), Partitions: []partitionReference{}}
		if m.InstanceID != nil {
			member.InstanceID = *m.InstanceID
		}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				for _, p := range t.Partitions {
					ref := partitionReference{t.Topic, p}
					member.Partitions = append(member.Partitions, ref)
					readers[ref] = m.MemberID
				}
			}
		}
		g.Members = append(g.Members, member)
	}
	return readers
}

// committedOffsets returns the offsets of a group, none if it does not exist.
func committedOffsets(ctx context.Context, admin *kadm.Client, group string) (kadm.OffsetResponses, error) {
	committed, err := admin.FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch committed offsets of group %q: %w", group, err)
	}
	return committed, nil
}

// bounds returns the offsets at which the topics' partitions begin and end. A
// deleted topic is in neither. With an error that passes, it returns the known
// offsets.
func bounds(ctx context.Context, admin *kadm.Client, topics []string) (start, end kadm.ListedOffsets, err error) {
	if len(topics) == 0 {
		return nil, nil, nil
	}
	if start, err = admin.ListStartOffsets(ctx, topics...); err != nil {
		return nil, nil, err
	}
	if end, err = admin.ListEndOffsets(ctx, topics...); err != nil {
		return nil, nil, err
	}
	for _, list := range []kadm.ListedOffsets{start, end} {
		list.Each(func(o kadm.ListedOffset) {
			if err == nil && passes(o.Err) {
				err = o.Err
			}
		})
	}
	return start, end, err
}

// fill sets the known values of a partition.
func (row *groupPartition) fill(committed kadm.OffsetResponses, start, end kadm.ListedOffsets) {
	if c, ok := committed.Lookup(row.Topic, row.Partition); ok {
		if c.Err != nil {
			row.Error = explain(c.Err)
		} else if c.At >= 0 {
			row.Committed = &c.At
		}
	}
	s, ok1 := start.Lookup(row.Topic, row.Partition)
	e, ok2 := end.Lookup(row.Topic, row.Partition)
	switch {
	case !ok1 || !ok2:
		row.Error = "the topic does not exist, or has no such partition"
		return
	case s.Err != nil || e.Err != nil:
		row.Error = explain(errors.Join(s.Err, e.Err))
		return
	}
	row.Start, row.End = &s.Offset, &e.Offset
	if row.Committed != nil {
		// Records below the start do not exist any more.
		lag := max(e.Offset-max(*row.Committed, s.Offset), 0)
		row.Lag = &lag
	}
}

func printGroupDescriptions(w io.Writer, groups []*groupDescription) error {
	for i, g := range groups {
		if i > 0 {
			fmt.Fprintln(w)
		}
		_, err := fmt.Fprintf(w, "group %s, %s, protocol %s, coordinator %d, %s, lag %s\n\n", g.Group, g.State, dash(g.Protocol), g.Coordinator,
			plural(len(g.Members), "member"), humanize.Comma(g.Lag))
		if err != nil {
			return err
		}
		if err := printTable(w, g.partitionTable); err != nil {
			return err
		}
		if len(g.Members) == 0 {
			continue
		}
		fmt.Fprintln(w)
		if err := printTable(w, g.memberTable); err != nil {
			return err
		}
	}
	return nil
}

func (g *groupDescription) partitionTable(w io.Writer) {
	fmt.Fprintln(w, "TOPIC\tPARTITION\tCOMMITTED\tSTART\tEND\tLAG\tMEMBER\tERROR")
	for _, p := range g.Partitions {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Topic, p.Partition, offsetText(p.Committed),
			offsetText(p.Start), offsetText(p.End), offsetText(p.Lag), dash(p.Member), dash(p.Error))
	}
}

func (g *groupDescription) memberTable(w io.Writer) {
	fmt.Fprintln(w, "MEMBER\tINSTANCE\tCLIENT\tHOST\tPARTITIONS")
	for _, m := range g.Members {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", m.ID, dash(m.InstanceID), dash(m.ClientID), dash(m.Host), len(m.Partitions))
	}
}

func offsetText(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}
