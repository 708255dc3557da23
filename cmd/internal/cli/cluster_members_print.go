package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// memberTable is the table of nodes of a cluster of several nodes.
func (s *clusterStatus) memberTable(w io.Writer) {
	fmt.Fprintln(w, "NODE\tKAFKA\tSTATE\tROLES\tRACK\tBEHIND\tSTARTED\tVERSION")
	for i := range s.Nodes {
		n := &s.Nodes[i]
		roles, started, version, behind := "?", "?", "?", "?"
		if n.Member != nil {
			roles = strings.Join(n.Member.Roles, ",")
		}
		if n.Status != nil {
			roles = strings.Join(n.Status.Roles, ",")
			started, version = n.Status.StartedAt.UTC().Format("2006-01-02T15:04:05Z"), n.Status.Version
		}
		if objects, ok := s.behind(n); ok {
			behind = strconv.FormatUint(objects, 10)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.name(), unknown(n.Kafka), n.shownState(), dash(roles), dash(n.Rack), behind, started, version)
	}
}

// shownState is the state of the process, and that of the node in the cluster.
func (n *clusterNode) shownState() string {
	process := "no answer"
	if n.Status != nil {
		process = n.Status.State
	}
	switch {
	case n.Member == nil:
		return process
	case n.Member.Fenced != "no":
		return fmt.Sprintf("%s, %s, %s", process, n.Member.State, n.Member.Fenced)
	}
	return process + ", " + n.Member.State
}

// memberJournalTable is the table of journals of a cluster of several nodes.
func (s *clusterStatus) memberJournalTable(w io.Writer) {
	fmt.Fprintln(w, "JOURNAL\tLEADER\tHOME\tTO LEAD\tWHY\tEPOCH\tHEAD\tLAG\tPARTITIONS\tPENDING\tUNMERGED\tSET ASIDE")
	for _, j := range s.Journals {
		home, toLead, partitions := optional(j.Home), optional(j.ToLead), optional(j.Partitions)
		pending, unmerged, aside := sizeOf(j.Pending), sizeOf(j.Unmerged), optional(j.SetAside)
		if j.Journal == 0 {
			home, toLead, partitions, pending, unmerged, aside = "-", "-", "-", "-", "-", "-"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", j.Journal, optional(j.Leader), home, toLead, dash(j.Why),
			optional(j.Epoch), optional(j.Head), lagOf(j), partitions, pending, unmerged, aside)
	}
}

// printMoves prints the journals that change hands.
func (s *clusterStatus) printMoves(w io.Writer) error {
	for i, line := range s.moves() {
		if i == 0 {
			line = "\n" + line
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// moves describes the journals that change hands, by the nodes that take part.
func (s *clusterStatus) moves() (lines []string) {
	for _, n := range s.Nodes {
		if n.Status == nil || n.Status.Members == nil {
			continue
		}
		for _, m := range n.Status.Members.Moves {
			does := "hands over"
			if m.Taking {
				does = "takes"
			}
			line := fmt.Sprintf("moving: node %s %s journal %d since %s", n.name(), does, m.Journal, m.Since.UTC().Format("15:04:05Z"))
			if m.Waits != "" {
				line += ", waits " + m.Waits
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func lagOf(j clusterJournal) string {
	if j.Lag == nil {
		return "-"
	}
	return strconv.FormatUint(*j.Lag, 10)
}

// optional writes a number, or a question mark if it is not known.
func optional[T any](n *T) string {
	if n == nil {
		return "?"
	}
	return fmt.Sprint(*n)
}

func sizeOf(n *int64) string {
	if n == nil {
		return "?"
	}
	return humanize.IBytes(uint64(max(*n, 0)))
}
