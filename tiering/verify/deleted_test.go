package verify_test

import (
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

func TestDamageToDeletedRecordsIsAWarning(t *testing.T) {
	for name, tc := range map[string]struct {
		before int64 // deleted up to here from events-0, which has 0 to 5 in seq 6
		want   verify.Severity
	}{
		"nothing deleted":        {0, verify.Error},
		"some records deleted":   {2, verify.Error},
		"the batch is deleted":   {3, verify.Warning},
		"the object is deleted":  {6, verify.Warning},
		"everything was deleted": {24, verify.Warning},
	} {
		t.Run(name, func(t *testing.T) {
			store, w := history(t)
			w.put(w.header(segment.KindData), []segment.Entry{partlog.DeleteRecords{Key: events0, Before: tc.before}.Encode()}, nil)
			if r := run(t, store, verify.Options{}); len(r.Findings) != 0 {
				t.Fatalf("a sound bucket: %+v", r.Findings)
			}
			edit(t, store, at(6), func(b []byte) []byte {
				o, err := segment.Decode(b)
				if err != nil {
					t.Fatal(err)
				}
				b = slices.Clone(b)
				b[o.Footer.Partitions[0].Position+batch.HeaderSize+2] ^= 1 // in the first batch
				return b
			})
			r := run(t, store, verify.Options{})
			if len(r.Findings) != 1 || r.Findings[0].Severity != tc.want || r.Errors+r.Warnings != 1 || (r.Errors == 1) != (tc.want == verify.Error) {
				t.Errorf("%d errors, %d warnings, %+v, want one %s", r.Errors, r.Warnings, r.Findings, tc.want)
			}
		})
	}
}
