package main

import (
	"fmt"
	"slices"
)

// kind is the kind of measurement of a case.
type kind string

const (
	produceKind kind = "produce" // write as fast as possible
	javaKind    kind = "java"    // the same with Kafka's own kafka-producer-perf-test
	hotKind     kind = "hot"     // read from the node's memory, again and again
	coldKind    kind = "cold"    // read once, with nothing in memory
	latencyKind kind = "latency" // write at a pace and read at once
	syncKind    kind = "sync"    // write one record after the other
	commitKind  kind = "commit"  // commit one offset after the other
	offsetsKind kind = "offsets" // ask for the end of all partitions in one request
	idsKind     kind = "ids"     // write one batch of each of many producers
	startKind   kind = "start"   // start on a new bucket
	idleKind    kind = "idle"    // read many partitions that get few records
)

// measure defines the figure of a kind.
type measure struct {
	unit   string
	lower  bool                     // is better
	per    string                   // the cost is per so much
	figure func(o *Outcome) float64 // in the unit
}

// thousand is the amount of operations that costs of small ones are per.
const thousand = "1,000 operations"

// rates are the measure of loads that move as many bytes as possible.
var rates = measure{unit: "MB/s", per: "GB", figure: func(o *Outcome) float64 { return o.BytesPerSecond / 1e6 }}

func (k kind) measure() measure {
	median := func(o *Outcome) float64 { return o.Acknowledged.P50 }
	switch k {
	case latencyKind:
		return measure{unit: "ms", lower: true, per: thousand, figure: median}
	case syncKind, commitKind, offsetsKind:
		return measure{unit: "ms", lower: true, per: thousand, figure: median}
	case idsKind: // of the broker's CPU: the time is that of its disk
		return measure{unit: "CPU µs/batch", lower: true, per: thousand, figure: func(o *Outcome) float64 { return o.CPU * 1000 }}
	case startKind:
		return measure{unit: "s", lower: true, per: "start", figure: func(o *Outcome) float64 { return o.Seconds }}
	case idleKind:
		return measure{unit: "cores", lower: true, per: "s", figure: func(o *Outcome) float64 { return o.CPU }}
	}
	return rates
}

// reads: the topic is filled first.
func (k kind) reads() bool { return k == hotKind || k == coldKind }

// waits: the figure is that of clients that wait for their writes.
func (k kind) waits() bool {
	return slices.Contains([]kind{produceKind, javaKind, latencyKind, syncKind, commitKind}, k)
}

// The stores.
const (
	fileStore  = "file"
	minioStore = "minio"
	farStore   = "far" // MinIO behind a delay
)

// bench is one case: a load on a fresh node, whose outcome is a row.
type bench struct {
	Name       string `json:"name"`
	Kind       kind   `json:"kind"`
	Store      string `json:"store"`
	RecordSize int    `json:"record_bytes,omitempty"`
	Partitions int    `json:"partitions,omitempty"`
	Acks       string `json:"acks,omitempty"`
	// JavaDefaults: batches as a Java producer makes them with its defaults, 16
	// KiB and no linger.
	JavaDefaults bool `json:"java_defaults,omitempty"`
	Producers    int  `json:"producers,omitempty"`
	// PutsPerSecond is a budget of PUTs for the node. 0: its default.
	PutsPerSecond int `json:"puts_per_second,omitempty"`

	alone bool // no peer runs it: it is about the store
}

func (b bench) named() bench {
	b.Name = fmt.Sprintf("%s/%s", b.Store, b.Kind)
	if b.RecordSize > 0 {
		b.Name += fmt.Sprintf("/%dB", b.RecordSize)
	}
	if b.Partitions > 0 && b.Producers == 0 {
		b.Name += fmt.Sprintf("/%dp", b.Partitions)
	}
	switch {
	case b.JavaDefaults:
		b.Name += "/java"
	case b.Producers > 0:
		b.Name += fmt.Sprintf("/%d", b.Producers)
	case b.Kind == produceKind || b.Kind == latencyKind || b.Kind == syncKind:
		b.Name += "/acks=" + b.Acks
	}
	if b.PutsPerSecond > 0 {
		b.Name += fmt.Sprintf("/puts=%d", b.PutsPerSecond)
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

// grid returns all cases of a store for sizes, partitions and acks.
func grid(store string) (all []bench) {
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

// table returns the cases that a new user of a broker measures first, and those
// whose cost grows with the number of partitions, producers or objects.
func table() (all []bench) {
	for _, b := range []bench{
		{Store: fileStore, Kind: syncKind, RecordSize: 200, Partitions: 1, Acks: "all"},
		{Store: minioStore, Kind: syncKind, RecordSize: 200, Partitions: 1, Acks: "all", alone: true},
		{Store: farStore, Kind: syncKind, RecordSize: 200, Partitions: 1, Acks: "all", alone: true},
		{Store: farStore, Kind: syncKind, RecordSize: 200, Partitions: 1, Acks: "all", PutsPerSecond: 4, alone: true},
		{Store: fileStore, Kind: latencyKind, RecordSize: 200, Partitions: 12, Acks: "all"},
		{Store: fileStore, Kind: commitKind, Partitions: 1},
		{Store: minioStore, Kind: commitKind, Partitions: 1, alone: true},
		{Store: fileStore, Kind: produceKind, RecordSize: 200, Partitions: 1, Acks: "all"},
		{Store: fileStore, Kind: produceKind, RecordSize: 200, Partitions: 1, Acks: "all", JavaDefaults: true},
		{Store: fileStore, Kind: javaKind, RecordSize: 200, Partitions: 1, Acks: "all"},
		{Store: fileStore, Kind: produceKind, RecordSize: 1024, Partitions: 12, Acks: "all"},
		{Store: farStore, Kind: produceKind, RecordSize: 1024, Partitions: 12, Acks: "all", alone: true},
		{Store: fileStore, Kind: hotKind, RecordSize: 200, Partitions: 12, Acks: "1"},
		{Store: fileStore, Kind: coldKind, RecordSize: 1024, Partitions: 12, Acks: "1"},
		{Store: minioStore, Kind: coldKind, RecordSize: 1024, Partitions: 12, Acks: "1", alone: true},
		{Store: farStore, Kind: coldKind, RecordSize: 1024, Partitions: 12, Acks: "1", alone: true},
		{Store: minioStore, Kind: offsetsKind, Partitions: 1},
		{Store: minioStore, Kind: offsetsKind, Partitions: 100},
		{Store: minioStore, Kind: offsetsKind, Partitions: 1000},
		{Store: fileStore, Kind: idsKind, Partitions: 1, Producers: 200_000},
		{Store: fileStore, Kind: idsKind, Partitions: 1, Producers: 1_000_000},
		{Store: fileStore, Kind: startKind},
		{Store: minioStore, Kind: startKind, alone: true},
		{Store: fileStore, Kind: idleKind, RecordSize: 200, Partitions: 5000, Acks: "all"},
	} {
		all = append(all, b.named())
	}
	return all
}

// chosen returns the cases of the flags whose names match.
func chosen(o *options) (all []bench) {
	if o.table {
		all = table()
	} else {
		for _, store := range o.stores {
			all = append(all, grid(store)...)
		}
	}
	return slices.DeleteFunc(all, func(b bench) bool { return !o.only.MatchString(b.Name) })
}

// uses reports whether a case has its bucket in one of the stores.
func uses(list []bench, stores ...string) bool {
	return slices.ContainsFunc(list, func(b bench) bool { return slices.Contains(stores, b.Store) })
}
