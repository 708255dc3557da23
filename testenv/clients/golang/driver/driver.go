// Package driver is the common part of the programs of this module. Each is a
// Kafka client. Its first argument is an operation, its second one (JSON) the
// details. It prints the results, one JSON value a line.
//
// It owns the terms of that protocol. It promises that a line is printed whole
// and at once. It knows no Kafka library.
package driver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
)

// Spec is the task; each operation reads the fields it needs.
type Spec struct {
	Bootstrap   string `json:"bootstrap"`
	Client      string `json:"client"` // client.id
	Topic       string `json:"topic"`
	Compression string `json:"compression"`
	Idempotent  bool   `json:"idempotent"`
	Partitions  int    `json:"partitions"`
	Since       int64  `json:"since"` // a timestamp; -1: the beginning
	Count       int    `json:"count"`
	Group       string `json:"group"`
	Strategy    string `json:"strategy"` // empty: the library's own choice
	Instance    string `json:"instance"` // group.instance.id; empty: a dynamic member
	Session     int    `json:"session"`  // session.timeout.ms
	Ops         []Op   `json:"ops"`
}

// Op is one administrative operation.
type Op struct {
	Op         string `json:"op"`
	Topic      string `json:"topic"`
	Partitions int32  `json:"partitions"`
	Partition  int32  `json:"partition"`
	Offset     int64  `json:"offset"`
	Name       string `json:"name"`
	Value      string `json:"value"`
	At         string `json:"at"` // earliest, latest or a timestamp
	Group      string `json:"group"`
}

// Result is the outcome of an Op.
type Result struct {
	Error       string           `json:"error,omitempty"`
	Unsupported bool             `json:"unsupported,omitempty"` // by the library
	Partitions  int              `json:"partitions,omitempty"`
	Offset      int64            `json:"offset"`
	Value       string           `json:"value,omitempty"`
	Names       []string         `json:"names,omitempty"`
	State       string           `json:"state,omitempty"`
	Members     map[string]int   `json:"members,omitempty"` // number of partitions by client.id
	Offsets     map[string]int64 `json:"offsets,omitempty"`
}

// Record is a record to send, or one that was read.
type Record struct {
	Event     string            `json:"event"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Key       string            `json:"key"`
	Value     string            `json:"value"`
	Timestamp int64             `json:"timestamp"`
	Headers   map[string]string `json:"headers,omitempty"`
}

// Assignment is a member's partitions after a rebalance, or its commits.
type Assignment struct {
	Event      string  `json:"event"` // assigned, revoked, committed or uncommitted
	Partitions []int32 `json:"partitions,omitempty"`
	Error      string  `json:"error,omitempty"`
}

// Operations are the operations of a program. Member runs until its context
// ends, then leaves as the library does.
type Operations struct {
	Produce func(context.Context, Spec, []Record) ([]Record, error)
	Consume func(context.Context, Spec) error
	Member  func(context.Context, Spec) error
	Admin   func(context.Context, Spec) (do func(Op) (Result, error), err error)
}

// Main runs a program.
func Main(operations Operations) {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: %s produce|consume|member|admin SPEC", os.Args[0]))
	}
	var spec Spec
	if err := json.Unmarshal([]byte(os.Args[2]), &spec); err != nil {
		fail(err)
	}
	if err := operations.run(os.Args[1], spec); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func (o Operations) run(operation string, spec Spec) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch operation {
	case "produce":
		records, err := input()
		if err != nil {
			return err
		}
		sent, err := o.Produce(ctx, spec, records)
		for _, record := range sent {
			Print(Record{Event: "sent", Partition: record.Partition, Offset: record.Offset})
		}
		return err
	case "consume":
		return o.Consume(ctx, spec)
	case "member":
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // its end, or its failure, is the order to end
			cancel()
		}()
		return o.Member(ctx, spec)
	case "admin":
		do, err := o.Admin(ctx, spec)
		if err != nil {
			return err
		}
		for _, op := range spec.Ops {
			result, err := do(op)
			if err != nil {
				result.Error = err.Error()
			}
			Print(result)
		}
		return nil
	}
	return fmt.Errorf("no operation %q", operation)
}

func input() (records []Record, err error) {
	lines := json.NewDecoder(bufio.NewReader(os.Stdin))
	for lines.More() {
		var record Record
		if err := lines.Decode(&record); err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, nil
}

var printing sync.Mutex

// Print prints a value as a line.
func Print(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		fail(err)
	}
	printing.Lock()
	defer printing.Unlock()
	if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
		fail(err)
	}
}
