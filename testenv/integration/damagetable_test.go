package integration

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/varvelog/varve/testenv/seeded"
)

var allDamages = flag.Bool("integration.damages", false, "make every damage of the table to every kind of object, not some of them")

// spot is an offset of a partition.
type spot struct {
	partition int32
	offset    int64
}

// extent is a piece of a partition, as bucket ls shows it.
type extent struct {
	First, Last, Position int64
	Object                string
	partition             int32
}

// extents lists all extents of a topic.
func (b bucket) extents(t testing.TB, topic string, partitions int32) (all []extent) {
	t.Helper()
	for p := range partitions {
		var some []extent
		if err := json.Unmarshal([]byte(b.run(t, "bucket", "ls", fmt.Sprintf("%s/%d", topic, p), "-o", "json")), &some); err != nil {
			t.Fatal(err)
		}
		for i := range some {
			some[i].partition = p
		}
		all = append(all, some...)
	}
	return all
}

// outcome is that of a start on a bucket with a damaged object.
type outcome int

const (
	servesAll  outcome = iota // records
	servesRest                // the records that are in no damaged object
	refuses                   // to start
)

// target is an object to be damaged, and another one of its kind, if there is one.
type target struct {
	key, other string
	at         int64              // a byte that matters
	outcome    map[string]outcome // by damage; "" is all others
	verify     string             // severity of the finding
	unseen     string             // a damage that is as good as none
	twin       string             // a copy, which is damaged in the same way
}

// targets are objects of a tidied bucket, by kind.
func (a *tidied) targets(t *testing.T) map[string]target {
	t.Helper()
	var own, shared, journal []extent
	for _, e := range a.extents(t, "events", 3) {
		switch {
		case strings.HasPrefix(e.Object, "topics/") && e.partition == 0:
			own = append(own, e)
		case strings.HasPrefix(e.Object, "merged/") && e.partition == 1:
			shared = append(shared, e)
		case strings.HasPrefix(e.Object, "journals/"):
			journal = append(journal, e)
		}
	}
	keys := func(pattern string) (keys []string) {
		for _, path := range glob(t, a.bucket, pattern) {
			keys = append(keys, strings.TrimPrefix(path, a.folder+"/"))
		}
		slices.Reverse(keys)
		return keys
	}
	pages, names, floors := slices.DeleteFunc(keys("journals/1/index/*[0-9a-f]"), func(key string) bool {
		return filepath.Base(key) > filepath.Base(journal[0].Object) // its journal objects are there
	}), keys("journals/1/floors/*"), floors(t, a.bucket, 1)
	if len(own) < 200 || len(shared) < 2 || len(journal) < 5 || len(pages) < 2 || len(floors) < 2 {
		t.Fatalf("%d own, %d shared, %d extents of the journal, %d index objects, %d floors", len(own), len(shared), len(journal), len(pages), len(floors))
	}
	newest, before := floors[len(floors)-1].Checkpoint, floors[len(floors)-2].Checkpoint
	// A start finds the checkpoint above the newest floor's, though no floor can be read then.
	swapped, swappedBelow := before, newest
	if latest := keys("journals/1/checkpoints/*")[0]; latest == newest {
		swapped, swappedBelow = "", "" // a start has no third one
	}
	all, rest := map[string]outcome{}, map[string]outcome{"": servesRest}
	// A node whose start reads the object would take another one for the end, or for the floor.
	read := map[string]outcome{"": refuses, "a flipped bit": servesRest}
	floor := map[string]outcome{"a swap": refuses}
	piece := func(e, other extent, o map[string]outcome) target {
		return target{key: e.Object, other: other.Object, at: e.Position + 70, outcome: o, verify: "error"}
	}
	return map[string]target{
		"own segment in a page":       piece(own[10], own[20], rest),
		"own segment in memory":       piece(own[len(own)-1], own[len(own)-2], rest),
		"shared segment":              piece(shared[0], shared[1], rest),
		"journal object":              piece(journal[3], journal[4], read),
		"index page":                  {key: pages[0], other: pages[1], at: 100, outcome: all, verify: "warning"},
		"copy of an index page":       {key: pages[0] + ".copy", other: pages[1] + ".copy", at: 100, outcome: all, verify: "warning"},
		"both copies of a page":       {key: pages[0], twin: pages[0] + ".copy", at: 100, outcome: rest, verify: "error"},
		"checkpoint of the floor":     {key: newest, other: swapped, at: 300, outcome: all, verify: "error"},
		"checkpoint of the one below": {key: before, other: swappedBelow, at: 300, outcome: all, verify: "error"},
		"newest floor":                {key: names[0], other: names[1], at: 40, outcome: floor, verify: "error"},
		"topic name":                  {key: keys("topics/*/name")[0], at: 20, outcome: all, verify: "warning", unseen: "a deletion"},
	}
}

// damages are changes to an object.
var damages = map[string]func(t *testing.T, b bucket, x target){
	"a flipped bit": func(t *testing.T, b bucket, x target) {
		alter(t, b.path(x.key), func(object []byte) []byte { object[x.at] ^= 4; return object })
	},
	"a cut": func(t *testing.T, b bucket, x target) {
		alter(t, b.path(x.key), func(object []byte) []byte { return object[:len(object)/2] })
	},
	"a deletion": func(t *testing.T, b bucket, x target) {
		if err := os.Remove(b.path(x.key)); err != nil {
			t.Fatal(err)
		}
	},
	"a swap": func(t *testing.T, b bucket, x target) {
		var other []byte
		alter(t, b.path(x.other), func(object []byte) []byte { other = object; return b.object(t, x.key) })
		alter(t, b.path(x.key), func([]byte) []byte { return other })
	},
}

func (b bucket) path(key string) string { return filepath.Join(b.folder, key) }

func (b bucket) object(t testing.TB, key string) []byte {
	t.Helper()
	object, err := os.ReadFile(b.path(key))
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// scan reads a topic from a node offset by offset where it cannot be read otherwise. It wants
// each offset to give the record that was written there, or a storage error, and returns those
// that give an error.
func (w written) scan(t *testing.T, address, topic string) (lost map[spot]bool) {
	t.Helper()
	lost = map[spot]bool{}
	for p, records := range w {
		for at := int64(0); at < int64(len(records)); {
			code, batches := fetchWithin(t, 5*time.Millisecond, address, topic, p, at)
			values := rawValues(t, batches)
			switch {
			case code == kerr.KafkaStorageError.Code && len(values) == 0:
				lost[spot{p, at}] = true
				at++
				continue
			case code != 0 || len(values) == 0:
				t.Fatalf("%s/%d at %d: error %v, %d records", topic, p, at, kerr.ErrorForCode(code), len(values))
			}
			first := firstOffset(t, batches)
			for i, value := range values {
				if want := string(records[first+int64(i)].Value); value != want {
					t.Fatalf("%s/%d at %d: %.60q, want %.60q", topic, p, first+int64(i), value, want)
				}
			}
			at = first + int64(len(values))
		}
	}
	return lost
}

// TestEachDamageToEachKindOfObject damages one object at a time of a bucket whose journal
// objects are mostly deleted, and starts a node from the bucket alone that merges and deletes on.
// Once the object is restored, all is well.
func TestEachDamageToEachKindOfObject(t *testing.T) {
	full(t)
	t.Parallel()
	a := tidy(t, fileBucket(t))
	rng := rand.New(rand.NewPCG(seeded.Seed(t), 0))
	targets, extents := a.targets(t), a.extents(t, "events", 3)
	for _, kind := range slices.Sorted(maps.Keys(targets)) {
		x := targets[kind]
		chosen := slices.DeleteFunc(slices.Sorted(maps.Keys(damages)), func(damage string) bool { return damage == "a swap" && x.other == "" })
		if !*allDamages && x.twin != "" {
			continue // half a second for each of a hundred offsets
		}
		if !*allDamages {
			chosen = chosen[rng.IntN(len(chosen)):][:1]
		}
		for _, damage := range chosen {
			t.Run(kind+"/"+damage, func(t *testing.T) {
				c := damagedCase{tidied: a, b: a.copied(t), x: x, damage: damage, hurt: []string{x.key}, may: map[spot]bool{}}
				damages[damage](t, c.b, x)
				switch {
				case damage == "a swap":
					c.hurt = append(c.hurt, x.other)
				case x.twin != "":
					damages[damage](t, c.b, target{key: x.twin, at: x.at})
				}
				for _, e := range extents {
					for at := e.First; slices.Contains(c.hurt, e.Object) && at <= e.Last; at++ {
						c.may[spot{e.partition, at}] = true
					}
				}
				c.run(t)
			})
		}
	}
}

// damagedCase is a copy of a bucket with one damaged object, or two that are swapped.
type damagedCase struct {
	*tidied
	b      bucket
	x      target
	damage string
	hurt   []string      // keys
	may    map[spot]bool // offsets of these objects
}

func (c *damagedCase) run(t *testing.T) {
	t.Helper()
	c.verify(t)
	all := maps.Clone(c.all)
	what, special := c.x.outcome[c.damage]
	if !special {
		what = c.x.outcome[""]
	}
	if what == refuses {
		wantRefusal(t, c.b.varve(tidySoon...), permanent, "journal 1", "restore")
	} else {
		c.serve(t, all, what)
	}
	for _, key := range c.hurt {
		err := os.Remove(c.b.path(key))
		if err == nil || os.IsNotExist(err) {
			err = os.WriteFile(c.b.path(key), c.object(t, key), 0o444)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	node := c.b.start(t, tidySoon...)
	if lost := all.scan(t, node.Kafka, "events"); len(lost) > 0 {
		t.Errorf("after the repair %d offsets are not served: %v", len(lost), lost)
	}
	node.Stop(t)
	c.b.run(t, "bucket", "verify", "--records")
}

// verify wants verification to name damaged objects, and the offsets that a reader misses.
func (c *damagedCase) verify(t *testing.T) {
	t.Helper()
	if c.damage == c.x.unseen {
		return
	}
	var report struct {
		Findings []struct {
			Severity, Key, Hint string
			Affects             []struct {
				Partition   int32
				First, Last int64
			}
		}
	}
	out := c.b.runs(t, "bucket", "verify", "--records", "-o", "json")
	if err := json.Unmarshal(out.Stdout, &report); err != nil {
		t.Fatal(err)
	}
	named, affected := map[string]bool{}, map[spot]bool{}
	for _, f := range report.Findings {
		if f.Severity == c.x.verify && f.Hint != "" {
			named[f.Key] = true
		}
		for _, r := range f.Affects {
			for at := r.First; at <= r.Last; at++ {
				affected[spot{r.Partition, at}] = true
			}
		}
	}
	for _, key := range c.hurt {
		if !named[key] {
			t.Errorf("verify does not name %s:\n%s", key, out.Stdout)
		}
	}
	if c.x.twin != "" {
		c.may, c.hurt = affected, append(c.hurt, c.x.twin) // of the extents in the page
	}
	for at := range affected {
		if !c.may[at] {
			t.Errorf("verify says that offset %d of partition %d is affected:\n%s", at.offset, at.partition, out.Stdout)
		}
	}
	if unsound := c.x.verify == "error"; unsound != (out.Code == 1) || (len(c.may) > 0 || c.x.twin != "") && len(affected) == 0 {
		t.Errorf("verify: exit code %d, %d offsets are affected, at most %d:\n%s", out.Code, len(affected), len(c.may), out.Stdout)
	}
}

// serve starts a node from the bucket alone, which goes on to merge and delete.
func (c *damagedCase) serve(t *testing.T, all written, what outcome) {
	t.Helper()
	c.b.age(t, time.Hour)
	node := c.b.start(t, tidySoon...)
	lost := all.scan(t, node.Kafka, "events")
	for at := range lost {
		if !c.may[at] {
			t.Errorf("offset %d of partition %d is not served", at.offset, at.partition)
		}
	}
	if (what == servesAll) != (len(lost) == 0) && c.damage != "a cut" { // half of an object may do
		t.Errorf("%d of %d offsets are not served", len(lost), len(c.may))
	}
	more, cl := written{}, client(t, node.Kafka)
	for wave := range 6 {
		more.wave(t, cl, 3000+wave)
	}
	for p, records := range more {
		all[p] = append(slices.Clip(all[p]), records...)
	}
	await(t, node, "a merge", func() bool { n, _ := metric(t, node, "varve_merge_jobs_total"); return n > 0 })
	node.Stop(t)
}

// firstOffset is the offset of the first record in batches.
func firstOffset(t testing.TB, batches []byte) int64 {
	t.Helper()
	if len(batches) < 8 {
		t.Fatal("no batches")
	}
	return int64(binary.BigEndian.Uint64(batches))
}
