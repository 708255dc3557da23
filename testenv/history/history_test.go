package history

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
)

// scene is a small history with one producer and one consumer, of two
// partitions, without an anomaly so far.
type scene struct {
	*History
	now time.Duration
	p   *Producer
	c   *Consumer
}

func newScene(promise Promise) *scene {
	s := &scene{}
	s.History = New(2, func() time.Duration { s.now += time.Millisecond; return s.now })
	s.p = s.NewProducer(promise)
	s.c = s.NewConsumer("reader")
	s.c.Seek(0, 0)
	s.c.Seek(1, 0)
	return s
}

// send sends n values to partition 0 and acknowledges them from an offset on.
func (s *scene) send(n int, offset int64) []Value {
	var values []Value
	for i := range n {
		v := s.p.Send(0)
		s.p.Acked(v, offset+int64(i))
		values = append(values, v)
	}
	return values
}

func read(c *Consumer, offset int64, values ...Value) {
	for i, v := range values {
		c.Read(0, offset+int64(i), v.Key(), v.Text(60))
	}
}

var (
	exactlyOnce = Promise{Name: "idempotent", Acks: -1, Idempotent: true, InOrder: true}
	oneByOne    = Promise{Name: "one in flight", Acks: -1, InOrder: true}
	byDisk      = Promise{Name: "leader", Acks: 1, InOrder: true}
)

// broken histories, each in one way.
var broken = []struct {
	name    string
	promise Promise
	play    func(s *scene)
	want    Kind
}{
	{"acknowledged and never there, later ones are", exactlyOnce, func(s *scene) {
		v := s.send(3, 0)
		s.c.Read(0, 0, nil, v[0].Text(60))
		s.c.Seek(0, 2)
		read(s.c, 2, v[2])
	}, LostWrite},
	{"acknowledged, and the log ends before", exactlyOnce, func(s *scene) { read(s.c, 0, s.send(3, 0)[:2]...) }, Unseen},
	{"acknowledged by the disk, which is there", byDisk, func(s *scene) { read(s.c, 0, s.send(3, 0)[:2]...) }, Unseen},
	{"acknowledged by the disk after the loss of another", byDisk, func(s *scene) {
		s.DiskLost()
		read(s.c, 0, s.send(3, 0)[:2]...)
	}, Unseen},
	{"acknowledged by the disk and lost before it was", byDisk, func(s *scene) {
		s.send(1, 0)
		s.p.Unknown(s.p.Send(0))
		read(s.c, 0, valueOf(1, 1)) // commits offset 0
		s.DiskLost()
	}, OffsetReuse},
	{"acknowledged by the disk after another node had the journal", byDisk, func(s *scene) {
		end := s.Losing()
		v := s.p.Send(0)
		s.p.Unknown(v)
		read(s.c, 0, v)
		end()
		s.send(1, 0)
	}, OffsetReuse},
	{"acknowledged without offset and never there", exactlyOnce, func(s *scene) { s.p.Acked(s.p.Send(1), -1) }, Unseen},
	{"acknowledged where another value was read", exactlyOnce, func(s *scene) {
		v := s.p.Send(0)
		read(s.c, 0, v)
		s.p.Acked(s.p.Send(0), 0)
	}, OffsetReuse},
	{"another value read where one was acknowledged", exactlyOnce, func(s *scene) {
		s.send(1, 0)
		v := s.p.Send(0)
		s.p.Unknown(v)
		read(s.c, 0, v)
	}, OffsetReuse},
	{"two values at one offset", exactlyOnce, func(s *scene) {
		v := s.send(2, 0)
		read(s.c, 0, v...)
		s.c.Seek(0, 0)
		read(s.c, 0, v[1])
	}, InconsistentOffset},
	{"a value twice", exactlyOnce, func(s *scene) {
		v := s.send(2, 0)
		read(s.c, 0, v[0], v[1], v[0])
	}, Duplicate},
	{"a value of unknown outcome twice", exactlyOnce, func(s *scene) {
		v := s.p.Send(0)
		s.p.Unknown(v)
		read(s.c, 0, v, v)
	}, Duplicate},
	{"a refused value", oneByOne, func(s *scene) {
		v := s.p.Send(0)
		s.p.Failed(v)
		read(s.c, 0, v)
	}, AbortedRead},
	{"a value read before it is refused", oneByOne, func(s *scene) {
		v := s.p.Send(0)
		read(s.c, 0, v)
		s.p.Failed(v)
	}, AbortedRead},
	{"a value that was not sent", oneByOne, func(s *scene) { read(s.c, 0, valueOf(1, 7)) }, Phantom},
	{"a value of no producer", oneByOne, func(s *scene) { read(s.c, 0, valueOf(9, 0)) }, Phantom},
	{"a value of another partition", oneByOne, func(s *scene) { read(s.c, 0, s.p.Send(1)) }, Phantom},
	{"a partition that was not asked for", oneByOne, func(s *scene) {
		s.c.Seek(1, -1)
		v := s.p.Send(1)
		s.c.Read(1, 0, v.Key(), v.Text(60))
	}, Phantom},
	{"an absurd offset", oneByOne, func(s *scene) {
		v := s.p.Send(0)
		s.c.Seek(0, 1<<40)
		read(s.c, 1<<40, v)
	}, Phantom},
	{"a changed bit", oneByOne, func(s *scene) {
		v := s.p.Send(0)
		text := v.Text(60)
		text[30] ^= 1
		s.c.Read(0, 0, v.Key(), text)
	}, Corrupt},
	{"a changed key", oneByOne, func(s *scene) { s.c.Read(0, 0, []byte("key"), s.p.Send(0).Text(60)) }, Corrupt},
	{"a short value", oneByOne, func(s *scene) { s.c.Read(0, 0, nil, []byte("short")) }, Corrupt},
	{"an offset left out", oneByOne, func(s *scene) {
		v := s.send(3, 0)
		read(s.c, 0, v[0])
		read(s.c, 2, v[2])
		s.c.Seek(0, 1)
		read(s.c, 1, v[1])
	}, PollSkip},
	{"an offset again", oneByOne, func(s *scene) {
		v := s.send(2, 0)
		read(s.c, 0, v...)
		read(s.c, 1, v[1])
	}, NonmonotonicPoll},
	{"values in another order", exactlyOnce, func(s *scene) {
		a, b := s.p.Send(0), s.p.Send(0)
		s.p.Unknown(a)
		s.p.Acked(b, 0)
		read(s.c, 0, b, a)
	}, NonmonotonicSend},
	{"acknowledged values in another order", oneByOne, func(s *scene) {
		a, b := s.p.Send(0), s.p.Send(0)
		s.p.Acked(b, 0)
		s.p.Acked(a, 1)
		read(s.c, 0, b, a)
	}, NonmonotonicSend},
	{"an end below a read offset", exactlyOnce, func(s *scene) {
		read(s.c, 0, s.send(2, 0)...)
		s.Ask().End("prober", 0, 1)
	}, EndWentBack},
	{"an end below an acknowledged offset", exactlyOnce, func(s *scene) {
		v := s.send(2, 0)
		s.Ask().End("prober", 0, 1)
		read(s.c, 0, v...)
	}, EndWentBack},
	{"an end below an earlier one", exactlyOnce, func(s *scene) {
		s.Ask().End("prober", 1, 5)
		s.Ask().End("prober", 1, 4)
	}, EndWentBack},
	{"a start below an earlier one", exactlyOnce, func(s *scene) {
		s.Ask().Start("prober", 1, 5)
		s.Ask().Start("prober", 1, 4)
	}, StartWentBack},
	{"a full read that ends early", exactlyOnce, func(s *scene) {
		v := s.send(3, 0)
		read(s.c, 0, v...)
		again := s.NewConsumer("second reader")
		again.Seek(0, 0)
		read(again, 0, v[:2]...)
		again.Complete(0, 2)
	}, Truncated},
	{"an anomaly that a client found", exactlyOnce, func(s *scene) { s.Note(Stuck, "nothing since %d", 7) }, Stuck},
}

func TestEachCheckFires(t *testing.T) {
	for _, test := range broken {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(test.promise)
			test.play(s)
			r := s.Check()
			if r.Counts[test.want] == 0 || len(r.Counts) != 1 {
				t.Errorf("found %v, want %s\n%v", r.Counts, test.want, r.Anomalies)
			}
		})
	}
}

func TestWhatIsAllowedIsNoAnomaly(t *testing.T) {
	for _, test := range []struct {
		name    string
		promise Promise
		play    func(s *scene)
	}{
		{"nothing", exactlyOnce, func(*scene) {}},
		{"all is well", exactlyOnce, func(s *scene) {
			q := s.Ask()
			v := s.send(3, 0)
			q.End("prober", 0, 0) // the look-up began before
			s.Ask().End("prober", 0, 3)
			s.Ask().Start("prober", 0, 0)
			read(s.c, 0, v...)
			s.c.Seek(0, 1)
			read(s.c, 1, v[1])
			s.c.Seek(0, 3)
			s.c.Complete(0, 3)
		}},
		{"unknown and there", exactlyOnce, func(s *scene) {
			v := s.p.Send(0)
			s.p.Unknown(v)
			read(s.c, 0, v)
		}},
		{"unknown and not there", exactlyOnce, func(s *scene) { s.p.Unknown(s.p.Send(0)) }},
		{"refused and not there", oneByOne, func(s *scene) { s.p.Failed(s.p.Send(0)) }},
		{"still under way", oneByOne, func(s *scene) { s.p.Send(0) }},
		{"acknowledged without offset and there", exactlyOnce, func(s *scene) {
			v := s.p.Send(0)
			s.p.Acked(v, -1)
			read(s.c, 0, v)
		}},
		{"twice without idempotence", oneByOne, func(s *scene) {
			v := s.send(2, 0)
			read(s.c, 0, v[0], v[1], v[0])
		}},
		{"a retry acknowledged at its second place", oneByOne, func(s *scene) {
			a, b := s.p.Send(0), s.p.Send(0)
			s.p.Acked(a, 1)
			s.p.Acked(b, 2)
			read(s.c, 0, a, a, b)
		}},
		{"given up and late without idempotence", oneByOne, func(s *scene) {
			a, b := s.p.Send(0), s.p.Send(0)
			s.p.Unknown(a)
			s.p.Acked(b, 0)
			read(s.c, 0, b, a)
		}},
		{"any order where none is promised", Promise{Name: "many in flight", Acks: -1}, func(s *scene) {
			a, b := s.p.Send(0), s.p.Send(0)
			s.p.Acked(b, 0)
			s.p.Acked(a, 1)
			read(s.c, 0, b, a)
		}},
		{"gone with the disk that acknowledged it, its offset given away", byDisk, func(s *scene) {
			s.send(3, 0)
			s.DiskLost()
			if end := s.Acknowledged(0); end != 0 {
				panic("must wait for lost records")
			}
			read(s.c, 0, s.send(1, 0)...)
		}},
		{"acknowledged by a disk while another node has the journal", byDisk, func(s *scene) {
			end := s.Losing()
			v := s.p.Send(0)
			s.p.Unknown(v)
			read(s.c, 0, v)
			s.send(1, 0)
			end()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(test.promise)
			test.play(s)
			if r := s.Check(); r.Total() > 0 {
				t.Errorf("found %v\n%v", r.Counts, r.Anomalies)
			}
		})
	}
}

func TestResultCounts(t *testing.T) {
	s := newScene(byDisk)
	s.send(2, 0)
	s.DiskLost()
	kept := s.send(2, 0)
	s.p.Failed(s.p.Send(1))
	s.p.Unknown(s.p.Send(1))
	s.p.Send(1)
	read(s.c, 0, kept[0], kept[1], kept[1])
	if n := s.p.Pending(); n != 1 {
		t.Errorf("%d pending, want 1", n)
	}
	if end := s.Acknowledged(0); end != 3 {
		t.Errorf("readers must get to %d, want 3", end)
	}
	r := s.Check()
	if r.Sent != 7 || r.Acked != 4 || r.Refused != 1 || r.Unknown != 2 || r.Read != 3 || r.Records != 3 || r.Repeated != 1 || r.Excused != 2 || r.Total() != 0 {
		t.Errorf("%+v", r)
	}
}

func TestDetailsAreBoundedAndCountsAreNot(t *testing.T) {
	s := newScene(byDisk)
	for range 3 * maxDetails {
		s.Note(Stuck, "again")
	}
	r := s.Check()
	if r.Total() != 3*maxDetails || len(r.Anomalies) != maxDetails || len(r.Kinds()) != 1 {
		t.Errorf("%d anomalies, %d with details, kinds %v", r.Total(), len(r.Anomalies), r.Kinds())
	}
}

func TestEachChangedBitOfATextIsFound(t *testing.T) {
	for _, size := range []int{0, minSize, 61} {
		v := valueOf(3, 1<<39)
		text := v.Text(size)
		if len(text) != max(size, minSize) {
			t.Errorf("%d bytes, want %d", len(text), size)
		}
		if got, err := parse(v.Key(), text); err != nil || got != v {
			t.Fatalf("Parse = %v, %v, want %v", got, err, v)
		}
		for bit := range 8 * len(text) {
			text[bit/8] ^= 1 << (bit % 8)
			if got, err := parse(nil, text); err == nil && got != v { // a digit may be of either case
				t.Fatalf("size %d, bit %d: parsed as %v", size, bit, got)
			}
			text[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// TestARandomHistoryOfAWorkingLogIsSilent plays a log with one producer of each
// kind, lost replies, retries and readers that begin anywhere.
func TestARandomHistoryOfAWorkingLogIsSilent(t *testing.T) {
	seed := seeded.Seed(t)
	random := rand.New(rand.NewPCG(seed, 0))
	h := New(3, func() time.Duration { return 0 })
	producers := []*Producer{h.NewProducer(exactlyOnce), h.NewProducer(oneByOne), h.NewProducer(byDisk)}
	logs := make([][]Value, 3)
	for range 20_000 {
		p, partition := producers[random.IntN(3)], random.IntN(3)
		v := p.Send(int32(partition))
		for range 1 + random.IntN(2) {
			if random.IntN(10) > 0 && (!p.Idempotent || len(logs[partition]) == 0 || logs[partition][len(logs[partition])-1] != v) {
				logs[partition] = append(logs[partition], v)
			}
		}
		if n := len(logs[partition]); n > 0 && logs[partition][n-1] == v {
			p.Acked(v, int64(n-1))
		} else {
			p.Unknown(v)
		}
	}
	for reader := range 3 {
		c := h.NewConsumer("reader")
		for partition, log := range logs {
			from := 0
			if reader > 0 {
				from = random.IntN(len(log))
			}
			c.Seek(int32(partition), int64(from))
			for offset := from; offset < len(log); offset++ {
				c.Read(int32(partition), int64(offset), log[offset].Key(), log[offset].Text(50))
			}
			c.Complete(int32(partition), int64(len(log)))
		}
	}
	if r := h.Check(); r.Total() > 0 || r.Repeated == 0 || r.Unknown == 0 {
		t.Errorf("%+v", r)
	}
}
