package batch_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// TestDecodersTakeTurnsInTheirRoom: a decoder that finds no room waits until its context
// ends. Records that are not compressed need none.
func TestDecodersTakeTurnsInTheirRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := batch.NewRoom(0, 1)
		spec := batchtest.Spec{Codec: batch.Gzip, Records: batchtest.Values(1, "a")}
		packed := batchtest.Build(spec)
		spec.Codec = batch.None
		plain := batchtest.Build(spec)
		walk := func(b []byte) error {
			h, err := batch.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err = batch.Check(ctx, room, b, h, anything)
			return err
		}
		err := batch.Scan(t.Context(), room, packed, func(batch.Meta) bool {
			if err := walk(packed); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("without room: %v", err)
			}
			if err := walk(plain); err != nil {
				t.Errorf("plain records: %v", err)
			}
			return true
		})
		if err := errors.Join(err, walk(packed)); err != nil {
			t.Error(err)
		}
	})
}

// TestALongBatchLetsOthersThrough: a batch that expands to far more than others gives its
// decoder, the only one, to waiting batches now and then.
func TestALongBatchLetsOthersThrough(t *testing.T) {
	for _, name := range []string{"gzip", "lz4", "xerial"} { // zstd has channels, which belong to one test
		spec := codecs[name]
		synctest.Test(t, func(t *testing.T) {
			room := batch.NewRoom(0, 1)
			spec.Records = []batchtest.Record{{}, {Value: make([]byte, 40<<20)}, {}}
			long := batchtest.Build(spec)
			spec.Records = batchtest.Values(1, "a")
			short := batchtest.Build(spec)
			h, err := batch.Parse(short)
			if err != nil {
				t.Fatal(err)
			}
			through := false
			err = batch.Scan(t.Context(), room, long, func(m batch.Meta) bool {
				if m.Offset == 0 {
					go func() {
						_, err := batch.Check(t.Context(), room, short, h, anything)
						through = err == nil
					}()
				}
				synctest.Wait()
				if m.Offset == 2 && !through {
					t.Errorf("%s: a short batch waits for a long one", name)
				}
				return true
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			synctest.Wait()
			if _, err := batch.Check(t.Context(), room, short, h, anything); err != nil {
				t.Errorf("%s, afterwards: %v", name, err)
			}
		})
	}
}

// TestATurnThatNeverComesGivesBackTheRest: its context ends while it waits.
func TestATurnThatNeverComesGivesBackTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := batch.NewRoom(0, 1)
		spec := batchtest.Spec{Codec: batch.Gzip, Records: []batchtest.Record{{}, {Value: make([]byte, 40<<20)}, {}}}
		long := batchtest.Build(spec)
		ctx, cancel := context.WithCancel(t.Context())
		err := batch.Scan(ctx, room, long, func(m batch.Meta) bool {
			if m.Offset == 0 {
				go batch.Scan(t.Context(), room, long, func(batch.Meta) bool {
					cancel() // the first one waits for its turn
					return true
				})
				synctest.Wait()
			}
			return true
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
		synctest.Wait()
		if err := batch.Scan(t.Context(), room, long, func(batch.Meta) bool { return true }); err != nil {
			t.Error(err)
		}
	})
}
