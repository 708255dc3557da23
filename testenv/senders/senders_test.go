package senders

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/cache"
)

var all = flag.Bool("senders.all", false, "test every family, and install its libraries")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOutcomesAreReadFromLines(t *testing.T) {
	var got []string
	note := func(id uint64, offset int64, err error) { got = append(got, fmt.Sprint(id, " ", offset, " ", err)) }
	if err := readOutcomes(strings.NewReader("1 10\n2 -1 no broker is there\n18446744073709551615 0\n"), note); err != nil {
		t.Fatal(err)
	}
	want := []string{"1 10 <nil>", "2 -1 no broker is there", "18446744073709551615 0 <nil>"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q", got)
	}
	for _, bad := range []string{"x 1\n", "1\n", "1 y\n"} {
		if readOutcomes(strings.NewReader(bad), note) == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// families returns the families to test: those whose libraries the cache has, or all.
func families(t *testing.T) []Family {
	t.Helper()
	if !*all {
		return []Family{{Name: "franz-go", Start: startFranz}}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	found, err := Find(ctx, t.TempDir(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEachFamilySendsEachRecordOnce(t *testing.T) {
	node := testenv.StartVarve(t, "--flush-interval", "10ms")
	for _, f := range families(t) {
		t.Run(f.Name, func(t *testing.T) {
			const records = 200
			client, err := kgo.NewClient(kgo.SeedBrokers(node.Kafka))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if _, err := kadm.NewClient(client).CreateTopic(ctx, 2, 1, nil, f.Name); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			offsets := map[uint64]int64{}
			s, err := f.Start([]string{node.Kafka}, f.Name, func(id uint64, offset int64, err error) {
				mu.Lock()
				defer mu.Unlock()
				if _, twice := offsets[id]; twice || err != nil {
					t.Errorf("record %d: %v, twice: %v", id, err, twice)
				}
				offsets[id] = offset
			})
			if err != nil {
				t.Fatal(err)
			}
			for id := range uint64(records) {
				if err := s.Send(id, int32(id%2), []byte("key"), fmt.Appendf(nil, "value-%d", id)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for id := range uint64(records) {
				if offset, ok := offsets[id]; !ok || offset != int64(id/2) {
					t.Fatalf("record %d is at %d, %v", id, offset, ok)
				}
			}
		})
	}
}

func TestASenderIsKilledAtOnce(t *testing.T) {
	for _, f := range families(t) {
		s, err := f.Start([]string{testenv.FreeAddr(t)}, "nowhere", func(uint64, int64, error) {})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(1, 0, []byte("k"), []byte("v")); err != nil {
			t.Error(err)
		}
		s.Kill()
	}
}

// The versions are those that the tests of clients have, so that the cache has one copy.
func TestThePinsOfPythonAreThoseOfTheClients(t *testing.T) {
	ours, err := cache.Path("p", pythonPins)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../clients/python/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := cache.Path("p", text)
	if err != nil || ours != theirs {
		t.Errorf("%s and %s, %v", ours, theirs, err)
	}
}
