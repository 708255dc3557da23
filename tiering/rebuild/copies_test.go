package rebuild_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/rebuild"
	"github.com/varvelog/varve/tiering/segment"
)

func TestALostCopyIsMadeFromTheOtherOne(t *testing.T) {
	name := segment.IndexName{Journal: 1, Seq: 7, Object: segment.ID{9}}
	second := name
	second.Copy = true
	blob := segment.Blob{Kind: segment.KindIndex, Cluster: segment.ID{1}, Object: name.Object, Journal: 1, Seq: 7, Payload: []byte("pages")}
	good, err := segment.EncodeBlob(blob)
	if err != nil {
		t.Fatal(err)
	}
	blob.Object[0]++
	foreign, _ := segment.EncodeBlob(blob)
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	for what, tc := range map[string]struct {
		lost, other []byte // nil: missing
		mended      bool
		deletes     int
	}{
		"missing":             {nil, good, true, 0},
		"damaged":             {damaged, good, true, 1},
		"whole":               {good, good, true, 0},
		"both damaged":        {damaged, damaged, false, 0},
		"both missing":        {nil, nil, false, 0},
		"the other's another": {nil, foreign, false, 0},
	} {
		for _, lost := range []segment.IndexName{name, second} {
			store := mem.New(time.Now, nil)
			other := lost
			other.Copy = !lost.Copy
			for key, b := range map[string][]byte{lost.Key(): tc.lost, other.Key(): tc.other} {
				if b != nil {
					store.PutNow(key, b)
				}
			}
			err := rebuild.RestoreCopy(t.Context(), store, lost)
			now, _ := store.GetNow(lost.Key())
			if (err == nil) != tc.mended || tc.mended != bytes.Equal(now, good) && what != "both damaged" || store.Calls(objstore.OpDelete) != tc.deletes {
				t.Errorf("%s, copy %v: %v, %d deletes", what, lost.Copy, err, store.Calls(objstore.OpDelete))
			}
		}
	}
}
