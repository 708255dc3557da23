package verify_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

// TestJunkFarBeyondIsFoundAndNothingElse: junk there proves nothing about the
// seqs and floors before it, and the walk does not go through them one by one.
func TestJunkFarBeyondIsFoundAndNothingElse(t *testing.T) {
	const far = uint64(math.MaxUint64 - 5)
	copied := func(key string) func(*mem.Store) []byte {
		return func(s *mem.Store) []byte { b, _ := s.GetNow(key); return b }
	}
	junk := func(*mem.Store) []byte { return []byte("a note") }
	for name, tc := range map[string]struct {
		key   string
		bytes func(*mem.Store) []byte
		code  verify.Code
	}{
		"junk beyond the head":              {at(1020), junk, verify.CodeMisplaced},
		"junk at the end of all seqs":       {at(far), junk, verify.CodeMisplaced},
		"a copied object":                   {at(far), copied(at(6)), verify.CodeMisplaced},
		"an object of the metadata journal": {at(24), copied(segment.JournalKey(0, 1)), verify.CodeMisplaced},
		"junk among the floors":             {segment.FloorKey(1, far), junk, verify.CodeFloor},
		"a copied floor":                    {segment.FloorKey(1, far), copied(segment.FloorKey(1, 2)), verify.CodeFloor},
		"a floor copied to the next number": {segment.FloorKey(1, 3), copied(segment.FloorKey(1, 2)), verify.CodeFloor},
	} {
		t.Run(name, func(t *testing.T) {
			store, _ := floored(t)
			store.PutNow(tc.key, tc.bytes(store))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			r, err := verify.New(store, verify.Options{Metadata: newCatalog(), Partition: -1}).Run(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if r.Errors != 1 || len(r.Findings) != 1 || r.Findings[0].Key != tc.key || r.Findings[0].Code != tc.code || r.Journals[1].Head != 22 {
				t.Errorf("head %d, %+v", r.Journals[1].Head, r.Findings)
			}
		})
	}
}

// TestJunkRightBehindTheHeadMayBeTakenAway, as a node reports too. An object
// before others was varve's, because varve wrote those after it.
func TestJunkRightBehindTheHeadMayBeTakenAway(t *testing.T) {
	const hint = "restore the object from a copy of the bucket, or remove it if varve did not write it"
	for name, tc := range map[string]struct {
		key, from string // "" is no object at all
		last      bool
	}{
		"junk":                       {at(23), "", true},
		"a copied object":            {at(23), at(6), true},
		"another journal's object":   {at(23), segment.JournalKey(0, 1), true},
		"damage that objects follow": {at(21), "", false},
		"a copy that objects follow": {at(21), at(6), false},
	} {
		t.Run(name, func(t *testing.T) {
			store, _ := floored(t)
			b := []byte("a note")
			if tc.from != "" {
				b, _ = store.GetNow(tc.from)
			}
			store.PutNow(tc.key, b)
			r, err := verify.New(store, verify.Options{Metadata: newCatalog(), Partition: -1}).Run(t.Context())
			if err != nil || len(r.Findings) == 0 || r.Findings[0].Key != tc.key {
				t.Fatalf("%v, %+v", err, r)
			}
			if got := r.Findings[0].Hint; strings.Contains(got, hint) != tc.last || !strings.Contains(got, "restore the") {
				t.Errorf("the hint is %s", got)
			}
		})
	}
}
