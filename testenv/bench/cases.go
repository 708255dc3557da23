package main

import (
	"fmt"
	"regexp"
)

// kind is the kind of measurement of a case.
type kind string

const (
	produceKind kind = "produce" // write as fast as possible
	hotKind     kind = "hot"     // read from the node's memory, again and again
	coldKind    kind = "cold"    // read once, after a start with an empty data folder
	latencyKind kind = "latency" // write at a pace and read at once
)

// The stores.
const (
	fileStore  = "file"
	minioStore = "minio"
)

// bench is one case: a load on a fresh node, whose outcome is a row.
type bench struct {
	Name       string `json:"name"`
	Kind       kind   `json:"kind"`
	Store      string `json:"store"`
	RecordSize int    `json:"record_bytes"`
	Partitions int    `json:"partitions"`
	Acks       string `json:"acks"`
	// JavaDefaults: batches as a Java producer makes them with its defaults, 16
	// KiB and no linger.
	JavaDefaults bool `json:"java_defaults,omitempty"`
}

func (b bench) named() bench {
	b.Name = fmt.Sprintf("%s/%s/%dB/%dp", b.Store, b.Kind, b.RecordSize, b.Partitions)
	switch {
	case b.JavaDefaults:
		b.Name += "/java"
	case b.Kind == produceKind || b.Kind == latencyKind:
		b.Name += "/acks=" + b.Acks
	}
	return b
}

// clientFlags are the flags of the load generator that follow from the case.
func (b bench) clientFlags() []string {
	if b.JavaDefaults {
		return []string{"--batch-bytes", "16KiB", "--linger", "0s"}
	}
	return nil
}

// cases returns all cases of a store, in the order of the table.
func cases(store string) (all []bench) {
	add := func(b bench) {
		b.Store = store
		all = append(all, b.named())
	}
	for _, acks := range []string{"1", "all"} {
		for _, size := range []int{200, 1024} {
			for _, partitions := range []int{1, 12, 200} {
				add(bench{Kind: produceKind, RecordSize: size, Partitions: partitions, Acks: acks})
			}
		}
	}
	add(bench{Kind: produceKind, RecordSize: 200, Partitions: 1, Acks: "all", JavaDefaults: true})
	for _, read := range []kind{hotKind, coldKind} {
		add(bench{Kind: read, RecordSize: 200, Partitions: 1, Acks: "1"})
		add(bench{Kind: read, RecordSize: 200, Partitions: 12, Acks: "1"})
		add(bench{Kind: read, RecordSize: 1024, Partitions: 12, Acks: "1"})
		add(bench{Kind: read, RecordSize: 200, Partitions: 200, Acks: "1"})
	}
	for _, acks := range []string{"1", "all"} {
		add(bench{Kind: latencyKind, RecordSize: 200, Partitions: 12, Acks: acks})
	}
	return all
}

// chosen returns the cases of the stores whose names match.
func chosen(stores []string, only *regexp.Regexp) (all []bench) {
	for _, store := range stores {
		for _, b := range cases(store) {
			if only.MatchString(b.Name) {
				all = append(all, b)
			}
		}
	}
	return all
}
