package kafka

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// TestNothingIsHeldOfConnectionsThatFail: frames that are cut off, malformed or
// fail, and answers that are not read, give back their memory. The end of each
// server of the tests checks that.
func TestNothingIsHeldOfConnectionsThatFail(t *testing.T) {
	seed := seeded.Seed(t)
	c := newCluster()
	topic := c.addTopic(t, "events", 1, map[string]string{"max.message.bytes": "8388608"})
	b := c.backend()
	r := start(t, c, Config{Listener: listener.Config{MaxRequestBytes: 4 << 20, RequestMemory: 16 << 20}}, b)
	var wg sync.WaitGroup
	for i := range uint64(20) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, i))
			for range 10 {
				cl := r.dial(t)
				for range rng.IntN(6) {
					if _, err := cl.Write(randomFrame(rng, topic)); err != nil {
						break
					}
				}
				if rng.IntN(2) == 0 {
					cl.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
					cl.Frame()
				}
				cl.Close()
			}
		})
	}
	for range 10 {
		c.change(func() { c.fails = ingest.ErrNoRoom })
		time.Sleep(5 * time.Millisecond)
		c.change(func() { c.fails = nil })
	}
	wg.Wait()
}

// randomFrame is a request of any kind, or a large Produce; some are damaged or cut off.
func randomFrame(rng *rand.Rand, topic *metadata.Topic) []byte {
	keys := slices.Sorted(maps.Keys(apis()))
	a := apis()[keys[rng.IntN(len(keys))]]
	req := sample(a.Key.Int16(), a.Min+int16(rng.IntN(int(a.Max-a.Min)+1)), topic)
	switch rng.IntN(4) {
	case 0:
		req = longPoll(topic)
	case 1:
		value := strings.Repeat("x", rng.IntN(3<<20))
		req = produceOne(topic, int16(rng.IntN(3)-1), batchtest.Spec{Records: batchtest.Values(1, value)})
	}
	frame := listenertest.Encode(req, 1)
	switch rng.IntN(4) {
	case 0:
		return frame[:rng.IntN(len(frame))]
	case 1:
		frame[4+rng.IntN(len(frame)-4)] ^= 1 << rng.IntN(8)
	}
	return frame
}
