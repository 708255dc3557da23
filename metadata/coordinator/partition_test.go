package coordinator

import (
	"testing"

	"pgregory.net/rapid"
)

// The partitions are those that Java computes for 50 partitions.
func TestPartitionOfIsKafkas(t *testing.T) {
	for id, want := range map[string]int32{
		"":                     0,
		"a":                    97 % 50,
		"my-group":             12,
		"polygenelubricants":   0,  // hash is the least integer
		"\U0001F600":           49, // two code units
		"console-consumer-123": 47,
	} {
		if got := PartitionOf(id, 50); got != want {
			t.Errorf("%q is in partition %d, want %d", id, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1000).Draw(t, "partitions")
		if p := PartitionOf(rapid.String().Draw(t, "id"), n); p < 0 || int(p) >= n {
			t.Fatalf("partition %d of %d", p, n)
		}
	})
}
