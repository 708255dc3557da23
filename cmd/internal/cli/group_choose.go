package cli

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// topicChoice is a topic and the chosen partitions of it; none stands for all.
type topicChoice struct {
	name       string
	partitions []int32
}

// parseTopics reads --topic flags: name, or name:0,1,2.
func parseTopics(texts []string) (list []topicChoice, err error) {
	for _, text := range texts {
		name, numbers, cut := strings.Cut(text, ":")
		c := topicChoice{name: name}
		for _, seen := range list {
			if seen.name == name {
				return nil, usagef("--topic %s is given twice; write its partitions together, as in %s:0,1", name, name)
			}
		}
		for number := range strings.SplitSeq(numbers, ",") {
			p, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
			switch {
			case !cut:
			case err != nil || p < 0:
				return nil, usagef("--topic %q: write name or name:partition,..., as in events:0,1", text)
			case !slices.Contains(c.partitions, int32(p)):
				c.partitions = append(c.partitions, int32(p))
			}
		}
		if name == "" {
			return nil, usagef("--topic %q: write name or name:partition,..., as in events:0,1", text)
		}
		list = append(list, c)
	}
	return list, nil
}

// choose lists the partitions to reset: those named, those of the file, or
// those for which the group has committed offsets.
func (r *offsetReset) choose(ctx context.Context, env *Env, client *kgo.Client, committed kadm.OffsetResponses) ([]topicChoice, error) {
	chosen := slices.Clone(r.topics)
	switch {
	case r.file != nil:
		var err error
		if chosen, err = r.chooseFromFile(chosen); err != nil {
			return nil, err
		}
	case len(chosen) == 0:
		for topic, partitions := range committed.Partitions() {
			c := topicChoice{name: topic}
			for p := range partitions {
				c.partitions = append(c.partitions, p)
			}
			chosen = append(chosen, c)
		}
		if len(chosen) == 0 {
			return nil, usagef("group %q has no committed offsets; name topics with --topic", r.group)
		}
	}
	named := len(r.topics) > 0 || r.file != nil
	existing := chosen[:0]
	for _, c := range chosen {
		partitions, err := lookUpTopic(ctx, env, client, c.name)
		if errors.Is(err, errUnknownTopic) && !named {
			fmt.Fprintf(env.Stderr, "varve: topic %q is left out: it does not exist any more\n", c.name)
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(c.partitions) == 0 {
			c.partitions = partitions
		}
		slices.Sort(c.partitions)
		if last := c.partitions[len(c.partitions)-1]; int(last) >= len(partitions) {
			return nil, usagef("topic %q has partitions 0 to %d, and none is %d", c.name, len(partitions)-1, last)
		}
		existing = append(existing, c)
	}
	slices.SortFunc(existing, func(a, b topicChoice) int { return cmp.Compare(a.name, b.name) })
	return existing, nil
}

// chooseFromFile returns the partitions of the file, or the chosen ones of
// them.
func (r *offsetReset) chooseFromFile(chosen []topicChoice) ([]topicChoice, error) {
	byTopic := map[string][]int32{}
	for ref := range r.file {
		byTopic[ref.Topic] = append(byTopic[ref.Topic], ref.Partition)
	}
	var list []topicChoice
	if len(chosen) == 0 {
		for topic, partitions := range byTopic {
			list = append(list, topicChoice{topic, partitions})
		}
		return list, nil
	}
	for _, c := range chosen {
		if len(c.partitions) == 0 {
			c.partitions = byTopic[c.name]
		}
		for _, p := range c.partitions {
			if !slices.Contains(byTopic[c.name], p) {
				return nil, usagef("--from-file has no offset of %s/%d", c.name, p)
			}
		}
		if len(c.partitions) == 0 {
			return nil, usagef("--from-file has no offset of topic %q", c.name)
		}
		list = append(list, c)
	}
	return list, nil
}

func compareRefs(a, b partitionReference) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// readOffsets reads a file of topic,partition,offset lines.
func readOffsets(name string) (map[partitionReference]int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("open --from-file: %w", err)
	}
	defer f.Close()
	offsets := map[partitionReference]int64{}
	reader := csv.NewReader(f)
	reader.FieldsPerRecord = -1
	reader.TrimLeadingSpace = true
	for {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, usagef("--from-file %s: %w", name, err)
		}
		line, _ := reader.FieldPos(0)
		wrong := usagef("--from-file %s, line %d: write topic,partition,offset", name, line)
		if len(fields) != 3 || fields[0] == "" {
			return nil, wrong
		}
		p, err1 := strconv.ParseInt(strings.TrimSpace(fields[1]), 10, 32)
		at, err2 := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
		if err1 != nil || err2 != nil || p < 0 || at < 0 {
			return nil, wrong
		}
		ref := partitionReference{fields[0], int32(p)}
		if _, twice := offsets[ref]; twice {
			return nil, usagef("--from-file %s, line %d: %s/%d stands there twice", name, line, ref.Topic, p)
		}
		offsets[ref] = at
	}
	if len(offsets) == 0 {
		return nil, usagef("--from-file %s has no offsets", name)
	}
	return offsets, nil
}

// writeOffsets writes the plan in the form that readOffsets reads.
func writeOffsets(name string, plan []resetRow) error {
	f, closeFile, err := newFile("to-file", name)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	for _, row := range plan {
		record := []string{row.Topic, strconv.Itoa(int(row.Partition)), strconv.FormatInt(row.New, 10)}
		if err := w.Write(record); err != nil {
			return errors.Join(fmt.Errorf("write --to-file: %w", err), closeFile())
		}
	}
	w.Flush()
	if err := errors.Join(w.Error(), closeFile()); err != nil {
		return fmt.Errorf("write --to-file: %w", err)
	}
	return nil
}
