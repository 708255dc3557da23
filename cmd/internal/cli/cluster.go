package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/cmd/internal/status"
)

const (
	httpEnv     = "VARVE_HTTP"
	defaultHTTP = "127.0.0.1:9080"

	statusLimit = 3 * time.Second // for the answer of one node
)

func newCluster(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Show the state of a cluster, upgrade it, and let it grow",
		Example: `  varve cluster status
  varve cluster events --follow
  varve cluster upgrade --dry-run
  varve cluster journals 6`,
	}
	cmd.AddCommand(newClusterStatus(env), newClusterEvents(env), newClusterJournals(env), newClusterUpgrade(env))
	group(cmd)
	return cmd
}

const clusterStatusLong = `Show the nodes, journals and topics of a cluster, and its troubles.

Every Kafka broker reports over --bootstrap: the cluster's id, its nodes, its topics,
and partitions without a leader. Varve's nodes also report their roles, versions and
journals, over --bootstrap if they are ready, and over HTTP at the addresses that --http
names. A question mark stands for a value that no node reported.

PENDING is the size of the records that are acknowledged with acks=1 and not in the
bucket yet, UNMERGED that of records that wait to be merged, SET ASIDE the number of
records of earlier starts that could not be replayed ("varve wal list" shows them).

In a cluster of several nodes STATE is that of the process and of the node in the cluster:
serving, leaving, drained, and why the cluster does not count on it (refused, replaced,
silent). BEHIND are objects of the metadata journal that the node has yet to read. The
HOME of a journal is the node that leads it when all is well, TO LEAD the one that is to
lead it now, WHY the reason for that, LAG how many objects its slowest reader among the
nodes is behind.

The code is 1 when a partition or journal has no leader, a node that serves does not
answer or is not ready, or a node that answers reports a trouble of its own: each is
listed with the time it began.`

func newClusterStatus(env *Env) *cobra.Command {
	var bootstrap, output string
	var addresses []string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show nodes, journals, topics, and troubles",
		Long:  clusterStatusLong,
		Example: `  varve cluster status
  varve cluster status --bootstrap logs-1:9092 --http logs-1:9080,logs-2:9080
  varve cluster status -o json | jq .troubles`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			addresses, named, err := httpAddresses(env, addresses)
			if err != nil {
				return err
			}
			return showCluster(cmd.Context(), env, bootstrap, addresses, named, output)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	bootstrapFlag(flags, &bootstrap)
	httpFlag(flags, &addresses)
	outputFlag(cmd, &output, "table", "json")
	return cmd
}

// httpFlag adds --http.
func httpFlag(flags *pflag.FlagSet, to *[]string) {
	flags.StringSliceVar(to, "http", nil, "HTTP `host:port` of nodes, several with commas (default $"+httpEnv+", or "+defaultHTTP+")")
}

// httpAddresses returns the addresses of nodes for HTTP, and whether the user named them.
func httpAddresses(env *Env, flag []string) (addresses []string, named bool, err error) {
	addresses, named = flag, len(flag) > 0
	if text := env.getenv(httpEnv); !named && text != "" {
		addresses, named = strings.Split(text, ","), true
	}
	if !named {
		addresses = []string{defaultHTTP}
	}
	for _, a := range addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return nil, false, usagef("--http %q: write host:port, several with commas", a)
		}
	}
	return addresses, named, nil
}

// clusterStatus is the output of `cluster status -o json`.
type clusterStatus struct {
	Cluster    string        `json:"cluster"`
	Controller *int32        `json:"controller"` // broker id
	Levels     *levels       `json:"feature"`    // null if not known
	Topics     int           `json:"topics"`
	Partitions int           `json:"partitions"`
	Nodes      []clusterNode `json:"nodes"`
	Troubles   []string      `json:"troubles"`

	// Of a cluster of several nodes, as the node knows it that has read most of its metadata;
	// null for one that has a lower feature level.
	Members  *status.Members  `json:"members"`
	Journals []clusterJournal `json:"journals"`

	asked time.Time
}

// clusterNode is a node that Kafka clients know, or HTTP, or both.
type clusterNode struct {
	ID     *int32       `json:"id"`
	Kafka  string       `json:"kafka"` // host:port, "" if not known
	Rack   string       `json:"rack,omitempty"`
	HTTP   string       `json:"http,omitempty"` // where Status comes from
	Status *status.Node `json:"status"`         // null if it did not answer
	// Member is the node in a cluster of several nodes; null if no node reported it.
	Member *status.Member `json:"member"`
}

func showCluster(ctx context.Context, env *Env, bootstrap string, addresses []string, named bool, output string) error {
	answers := askNodes(ctx, addresses)
	client, err := connect(ctx, env, bootstrap)
	if err != nil {
		return errors.Join(interrupted(ctx, err), answers.notReady())
	}
	defer client.Close()
	s, err := readCluster(ctx, client)
	if err != nil {
		return interrupted(ctx, err)
	}
	s.join(slices.Concat(askBrokers(ctx, client, s, answers), answers), named)
	s.addMembers()
	if output == "json" {
		err = printJSON(env.Stdout, s)
	} else {
		err = s.print(env.Stdout)
	}
	if err == nil && len(s.Troubles) > 0 {
		err = fmt.Errorf("the cluster has %s", plural(len(s.Troubles), "trouble")) // which are printed
	}
	return err
}

// answers are the nodes' answers over HTTP, by address.
type answers []answer

type answer struct {
	address string
	node    status.Node
	err     error
}

// name is the node in a trouble: by its address, or its number if the user named none.
func (a answer) name() string {
	if a.address == "" {
		return fmt.Sprintf("node %d", *a.node.ID)
	}
	return "the node at " + a.address
}

func askNodes(ctx context.Context, addresses []string) answers {
	list := make(answers, len(addresses))
	done := make(chan struct{})
	for i, address := range addresses {
		go func() {
			asking, cancel := context.WithTimeout(ctx, statusLimit)
			defer cancel()
			list[i].address = address
			list[i].node, list[i].err = status.Ask(asking, address)
			done <- struct{}{}
		}()
	}
	for range addresses {
		<-done
	}
	return list
}

// notReady returns why nodes do not answer Kafka clients, as far as
// they report it.
func (list answers) notReady() error {
	var errs []error
	for _, a := range list {
		if a.err == nil && a.node.Cluster == nil {
			errs = append(errs, fmt.Errorf("the node at %s is not ready: %s", a.address, a.node.State))
		}
	}
	return errors.Join(errs...)
}

// readCluster reads the part that every broker knows.
func readCluster(ctx context.Context, client *kgo.Client) (*clusterStatus, error) {
	meta, err := kadm.NewClient(client).Metadata(ctx)
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	s := &clusterStatus{Cluster: meta.Cluster, Nodes: []clusterNode{}, Troubles: []string{}, Journals: []clusterJournal{}, asked: time.Now()}
	if meta.Controller >= 0 {
		s.Controller = &meta.Controller
	}
	if known, err := readLevels(ctx, client); err == nil {
		s.Levels = &known
	} else if !errors.Is(err, errNoLevel) {
		return nil, err
	}
	for _, b := range meta.Brokers {
		node := clusterNode{ID: &b.NodeID, Kafka: net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))}
		if b.Rack != nil {
			node.Rack = *b.Rack
		}
		s.Nodes = append(s.Nodes, node)
	}
	for _, t := range meta.Topics.Sorted() {
		if t.Err != nil {
			s.Troubles = append(s.Troubles, fmt.Sprintf("topic %s: %v", t.Topic, t.Err))
			continue
		}
		s.Topics++
		for _, p := range t.Partitions.Sorted() {
			s.Partitions++
			switch {
			case p.Err != nil && !errors.Is(p.Err, kerr.ReplicaNotAvailable):
				s.Troubles = append(s.Troubles, fmt.Sprintf("%s/%d: %v", t.Topic, p.Partition, p.Err))
			case p.Leader < 0:
				s.Troubles = append(s.Troubles, fmt.Sprintf("%s/%d: has no leader", t.Topic, p.Partition))
			}
		}
	}
	return s, nil
}

// join adds the nodes' answers over HTTP. If the user named no address, a node
// that does not answer at the default one is no trouble, nor is one of another cluster.
func (s *clusterStatus) join(list answers, named bool) {
	for _, a := range list {
		switch {
		case a.err != nil:
			if named {
				s.Troubles = append(s.Troubles, fmt.Sprintf("the node at --http %s does not answer: %s", a.address, oneLine(a.err)))
			}
		case a.node.Cluster == nil:
			s.Troubles = append(s.Troubles, fmt.Sprintf("the node at %s is not ready: %s", a.address, a.node.State))
			s.addTroubles(a)
			s.Nodes = append(s.Nodes, clusterNode{HTTP: a.address, Status: &a.node})
		case a.node.Cluster.ID != s.Cluster && !named:
		case a.node.Cluster.ID != s.Cluster:
			s.Troubles = append(s.Troubles, fmt.Sprintf("the node at %s is of another cluster, %s", a.address, a.node.Cluster.ID))
		default:
			s.addTroubles(a)
			s.place(a)
		}
	}
	slices.SortStableFunc(s.Nodes, func(a, b clusterNode) int {
		if a.ID == nil || b.ID == nil {
			return cmp.Compare(a.HTTP, b.HTTP)
		}
		return cmp.Compare(*a.ID, *b.ID)
	})
}

// addTroubles adds the troubles that a node reports of itself.
func (s *clusterStatus) addTroubles(a answer) {
	for _, t := range a.node.Troubles {
		text := a.name() + " has a trouble"
		if t.NotReady {
			text = a.name() + " is not ready"
		}
		s.Troubles = append(s.Troubles, text+": "+t.String())
	}
}

// place adds an answer to the row of its node. Brokers that take writes may not
// know of a node that serves reads alone.
func (s *clusterStatus) place(a answer) {
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.ID != nil && *n.ID == *a.node.ID {
			n.HTTP, n.Status = a.address, &a.node
			return
		}
	}
	s.Nodes = append(s.Nodes, clusterNode{ID: a.node.ID, Kafka: a.node.Kafka, Rack: a.node.Rack, HTTP: a.address, Status: &a.node})
}
