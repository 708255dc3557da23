package verify_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

// planCheckpoint applies the objects up to a seq, and plans the checkpoint that follows
// with one index page.
func planCheckpoint(t *testing.T, store *mem.Store, chain *journal.Chain, state *partlog.State, seq uint64, page segment.ID) (journal.CheckpointJob, *partlog.Index) {
	t.Helper()
	for chain.Next <= seq {
		b, _ := store.GetNow(at(chain.Next))
		o, err := segment.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		verdict, err := chain.Check(&o.Footer.Header)
		if err == nil && verdict == journal.Valid {
			err = state.Apply(o.Footer, o.Entries)
		}
		if err != nil {
			t.Fatal(err)
		}
		chain.Advance(&o.Footer.Header, verdict)
	}
	index, ok := state.PlanIndex(1)
	if !ok {
		t.Fatal("no index page")
	}
	job := journal.CheckpointJob{Chain: *chain, State: state.Encode(index, page, nil)}
	job.Indexes = []journal.IndexObject{{Name: index.Name(page), Payload: index.Payload()}}
	return job, index
}

// writeCheckpoint stores a checkpoint of the state after seq, with an index
// page, as leaders do, and returns their keys. spoil changes their content.
func writeCheckpoint(t *testing.T, store *mem.Store, seq uint64, spoil func(*journal.CheckpointJob)) (checkpoint, page string) {
	t.Helper()
	scratch := mem.New(nil, nil)
	chain, state := journal.NewChain(cluster, 1, window), partlog.New(1)
	job, _ := planCheckpoint(t, store, &chain, state, seq, segment.ID{0xaa, byte(seq)})
	page = job.Indexes[0].Name.Key()
	if spoil != nil {
		spoil(&job)
	}
	c := journal.NewCheckpointer(journal.CheckpointerOptions{NewID: func() segment.ID { return segment.ID{0xbb} }})
	c.Begin(&job)
	if res := c.Write(t.Context(), scratch, job); res.Err != nil {
		t.Fatal(res.Err)
	}
	for _, i := range scratch.ListNow("") {
		b, _ := scratch.GetNow(i.Key)
		store.PutNow(i.Key, b)
	}
	return segment.CheckpointKey(1, job.Chain.Last), page
}

func TestACheckpointThatIsRightIsNoFinding(t *testing.T) {
	store, _ := history(t)
	writeCheckpoint(t, store, 14, nil)
	for _, opt := range []verify.Options{{}, {Topic: "clicks", Partition: -1}} {
		if r := run(t, store, opt); len(r.Findings) != 0 {
			t.Fatalf("%+v", r.Findings)
		}
	}
}

// reblob changes an index object and computes its checksum again.
func reblob(t *testing.T, store *mem.Store, key string, change func(*segment.Blob)) {
	edit(t, store, key, func(b []byte) []byte {
		blob, err := segment.DecodeBlob(segment.KindIndex, b)
		if err != nil {
			t.Fatal(err)
		}
		change(&blob)
		b, _ = segment.EncodeBlob(blob)
		return b
	})
}

// wantNothing accepts no attachment.
func wantNothing(b []byte) error {
	if len(b) > 0 {
		return errors.New("no snapshots")
	}
	return nil
}

func TestCheckpointsAndIndexPagesAreChecked(t *testing.T) {
	flipped := func(t *testing.T, store *mem.Store, key string) {
		edit(t, store, key, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	}
	const found = "clicks-0:0..2 events-0:0..17 events-1:0..5" // by the page
	for name, tc := range map[string]struct {
		spoil  func(*journal.CheckpointJob)
		damage func(t *testing.T, store *mem.Store, checkpoint, page string)
		want   func(checkpoint, page string) []expected
	}{
		"damaged checkpoint": {
			damage: func(t *testing.T, store *mem.Store, checkpoint, _ string) { flipped(t, store, checkpoint) },
			want:   func(c, _ string) []expected { return []expected{{"warning", "corrupt", c, ""}} },
		},
		"damaged index page": {
			damage: func(t *testing.T, store *mem.Store, _, page string) { flipped(t, store, page) },
			want:   func(_, p string) []expected { return []expected{{"error", "corrupt", p, found}} },
		},
		"no index page": {
			damage: func(t *testing.T, store *mem.Store, _, page string) { store.DeleteNow(page) },
			want:   func(_, p string) []expected { return []expected{{"error", "missing", p, found}} },
		},
		"another page in its place": {
			damage: func(t *testing.T, store *mem.Store, _, page string) {
				reblob(t, store, page, func(blob *segment.Blob) { blob.Payload = make([]byte, len(blob.Payload)) })
			},
			want: func(_, p string) []expected { return []expected{{"error", "corrupt", p, found}} },
		},
		"damaged page that no checkpoint names": {
			damage: func(t *testing.T, store *mem.Store, _, page string) {
				store.PutNow(segment.IndexName{Journal: 1, Object: segment.ID{0xcc}}.Key(), []byte("half a page"))
			},
			want: func(string, string) []expected {
				return []expected{{"warning", "corrupt", segment.IndexName{Journal: 1, Object: segment.ID{0xcc}}.Key(), ""}}
			},
		},
		"attachment that coordinators cannot read": {
			spoil: func(job *journal.CheckpointJob) { job.Attached = []byte("none of theirs") },
			want:  func(c, _ string) []expected { return []expected{{"error", "state", c, ""}} },
		},
		"page whose refs are not the objects'": {
			spoil: func(job *journal.CheckpointJob) {
				// In the page and in the state: another position of the first ref.
				good := job.Indexes[0].Payload
				bad := bytes.Clone(good)
				bad[32+24+3] ^= 1
				n := 32 + 40 // clicks-0 has one ref
				job.State = bytes.Replace(job.State, binary.BigEndian.AppendUint32(nil, checksum(good[:n])), binary.BigEndian.AppendUint32(nil, checksum(bad[:n])), 1)
				job.Indexes[0].Payload = bad
			},
			want: func(c, _ string) []expected { return []expected{{"error", "state", c, ""}} },
		},
		"future index page": {
			damage: func(t *testing.T, store *mem.Store, _, page string) {
				edit(t, store, page, func(b []byte) []byte { b[5] = 9; return b })
			},
			want: func(_, p string) []expected { return []expected{{"error", "unsupported", p, found}} },
		},
		"page of another cluster": {
			damage: func(t *testing.T, store *mem.Store, _, page string) {
				reblob(t, store, page, func(blob *segment.Blob) { blob.Cluster = segment.ID{66} })
			},
			want: func(_, p string) []expected { return []expected{{"error", "misplaced", p, found}} },
		},
		"state that is not the objects'": {
			spoil: func(job *journal.CheckpointJob) {
				job.State, job.Indexes = partlog.New(1).Encode(nil, segment.ID{}, nil), nil
			},
			want: func(c, _ string) []expected { return []expected{{"error", "state", c, ""}} },
		},
		"position that is not the objects'": {
			spoil: func(job *journal.CheckpointJob) { job.Chain.Leader[0]++ },
			want:  func(c, _ string) []expected { return []expected{{"error", "state", c, ""}} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, _ := history(t)
			checkpoint, page := writeCheckpoint(t, store, 14, tc.spoil)
			if tc.damage != nil {
				tc.damage(t, store, checkpoint, page)
			}
			r := run(t, store, verify.Options{CheckAttached: wantNothing})
			var got []expected
			for _, f := range r.Findings {
				got = append(got, brief(f))
			}
			if !slices.Equal(got, tc.want(checkpoint, page)) {
				t.Fatalf("%+v", r.Findings)
			}
		})
	}
}
