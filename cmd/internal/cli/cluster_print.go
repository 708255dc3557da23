package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

func (s *clusterStatus) print(w io.Writer) error {
	controller := "?"
	if s.Controller != nil {
		controller = strconv.Itoa(int(*s.Controller))
	}
	_, err := fmt.Fprintf(w, "cluster %s, controller %s, %s, %s, %s%s\n\n", s.Cluster, controller,
		plural(len(s.Nodes), "node"), plural(s.Topics, "topic"), plural(s.Partitions, "partition"), s.Levels)
	if err != nil {
		return err
	}
	nodes, journals := s.nodeTable, s.journalTable
	if s.Members != nil {
		nodes, journals = s.memberTable, s.memberJournalTable
	}
	if err := printTable(w, nodes); err != nil {
		return err
	}
	if s.journals() > 0 {
		fmt.Fprintln(w)
		if err := printTable(w, journals); err != nil {
			return err
		}
	}
	if err := s.printMoves(w); err != nil {
		return err
	}
	for i, t := range s.Troubles {
		if i == 0 {
			fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintf(w, "trouble: %s\n", t); err != nil {
			return err
		}
	}
	return nil
}

// String returns the part of a line about the feature level.
func (l *levels) String() string {
	switch {
	case l == nil:
		return ""
	case l.Now < l.Supported:
		return fmt.Sprintf(", feature level %d (\"varve cluster upgrade\" raises it to %d)", l.Now, l.Supported)
	}
	return fmt.Sprintf(", feature level %d", l.Now)
}

func (s *clusterStatus) journals() (n int) {
	for _, node := range s.Nodes {
		if node.Status != nil {
			n += len(node.Status.Journals)
		}
	}
	return n
}

func (n *clusterNode) name() string {
	if n.ID == nil {
		return "?"
	}
	return strconv.Itoa(int(*n.ID))
}

func (s *clusterStatus) nodeTable(w io.Writer) {
	fmt.Fprintln(w, "NODE\tKAFKA\tHTTP\tSTATE\tROLES\tRACK\tSTARTED\tVERSION")
	for _, n := range s.Nodes {
		state, roles, started, version := "?", "?", "?", "?"
		if n.Status != nil {
			state, roles = n.Status.State, strings.Join(n.Status.Roles, ",")
			started, version = n.Status.StartedAt.UTC().Format("2006-01-02T15:04:05Z"), n.Status.Version
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.name(), unknown(n.Kafka), unknown(n.HTTP), state, roles, dash(n.Rack), started, version)
	}
}

func (s *clusterStatus) journalTable(w io.Writer) {
	fmt.Fprintln(w, "JOURNAL\tNODE\tROLE\tHEAD\tEPOCH\tPARTITIONS\tPENDING\tSET ASIDE")
	for _, n := range s.Nodes {
		if n.Status == nil {
			continue
		}
		for _, j := range n.Status.Journals {
			role, epoch, partitions, pending, aside := "follows", "?", strconv.Itoa(j.Partitions), "-", "-"
			if j.Leads {
				role = "leads"
			}
			if j.Epoch != nil {
				epoch = strconv.FormatUint(uint64(*j.Epoch), 10)
			}
			if j.Journal == 0 {
				partitions = "-"
			}
			if j.Pending != nil && j.SetAside != nil {
				pending, aside = humanize.IBytes(uint64(max(*j.Pending, 0))), strconv.Itoa(*j.SetAside)
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", j.Journal, n.name(), role, j.Head, epoch, partitions, pending, aside)
		}
	}
}

// unknown returns text, or a question mark if it is empty.
func unknown(text string) string {
	if text == "" {
		return "?"
	}
	return text
}
