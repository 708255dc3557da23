package announce

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

var (
	cluster = segment.ID{0xc1, 15: 0xc2}
	object  = segment.ID{0x0b, 15: 0x0c}
)

var (
	anObject = Announcement{Journal: 7, Epoch: 3, Seq: 42, Object: object}
	aLeader  = membership.Leader{Journal: 7, Epoch: 3, Node: segment.ID{0x0d, 15: 0x0e}, Settled: segment.Ref{Seq: 42, Object: object}}
)

func TestMessageLayoutIsPinned(t *testing.T) {
	const (
		begins = "01" + "c10000000000000000000000000000c2" + "00000007" + "00000003"
		ends   = "000000000000002a" + "0b00000000000000000000000000000c"
		node   = "0d00000000000000000000000000000e"
	)
	if got := hex.EncodeToString(Encode(cluster, anObject)); got != "56525641"+begins+ends {
		t.Errorf("compatibility: message is\n%s", got)
	}
	if got := hex.EncodeToString(EncodeLeader(cluster, aLeader)); got != "5652564c"+begins+node+ends {
		t.Errorf("compatibility: message is\n%s", got)
	}
	for _, c := range []struct{ got, want string }{
		{committed.subject(cluster, 7), "varve.c10000000000000000000000000000c2.journal.7"},
		{committed.all(cluster), "varve.c10000000000000000000000000000c2.journal.*"},
		{leaders.subject(cluster, 7), "varve.c10000000000000000000000000000c2.leader.7"},
		{leaders.all(cluster), "varve.c10000000000000000000000000000c2.leader.*"},
	} {
		if c.got != c.want {
			t.Errorf("compatibility: subject is %s, want %s", c.got, c.want)
		}
	}
}

// A node of today reads the messages of later versions, which are longer.
func TestFieldsOfLaterVersionsAreSkipped(t *testing.T) {
	for _, longer := range []int{1, 8, MaxMessageSize - leaderSize} {
		more := bytes.Repeat([]byte{0xff}, longer)
		if c, a, err := Decode(append(Encode(cluster, anObject), more...)); err != nil || c != cluster || a != anObject {
			t.Errorf("%d bytes more: %+v, %v", longer, a, err)
		}
		if c, l, err := DecodeLeader(append(EncodeLeader(cluster, aLeader), more...)); err != nil || c != cluster || l != aLeader {
			t.Errorf("%d bytes more: %+v, %v", longer, l, err)
		}
	}
}

func TestDamagedMessagesAreReported(t *testing.T) {
	type damage struct {
		at   int
		to   []byte
		want error
	}
	of := func(what string, good []byte, read func([]byte) error, damages map[string]damage) {
		for name, c := range damages {
			b := slices.Clone(good)
			copy(b[c.at:], c.to)
			if err := read(b); !errors.Is(err, c.want) {
				t.Errorf("%s: %s: %v, want %v", what, name, err, c.want)
			}
		}
		for n := range good {
			if err := read(good[:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %d bytes of it: %v", what, n, err)
			}
		}
		if err := read(append(good, make([]byte, MaxMessageSize)...)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: too long: %v", what, err)
		}
	}
	zero := make([]byte, 16)
	of("committed", Encode(cluster, anObject), func(b []byte) error { _, _, err := Decode(b); return err }, map[string]damage{
		"magic": {0, []byte("X"), ErrCorrupt}, "of a leader": {0, []byte("VRVL"), ErrCorrupt},
		"version 0": {4, []byte{0}, ErrCorrupt}, "version 2": {4, []byte{2}, ErrUnsupported},
		"zero cluster": {5, zero, ErrCorrupt}, "zero epoch": {25, zero[:4], ErrCorrupt},
		"zero seq": {29, zero[:8], ErrCorrupt}, "zero object": {37, zero, ErrCorrupt},
	})
	of("leader", EncodeLeader(cluster, aLeader), func(b []byte) error { _, _, err := DecodeLeader(b); return err }, map[string]damage{
		"magic": {0, []byte("X"), ErrCorrupt}, "of an object": {0, []byte("VRVA"), ErrCorrupt},
		"version 0": {4, []byte{0}, ErrCorrupt}, "version 2": {4, []byte{2}, ErrUnsupported},
		"zero cluster": {5, zero, ErrCorrupt}, "zero epoch": {25, zero[:4], ErrCorrupt},
		"zero node": {29, zero, ErrCorrupt}, "zero seq": {45, zero[:8], ErrCorrupt}, "zero object": {53, zero, ErrCorrupt},
	})
}

func FuzzDecode(f *testing.F) {
	for _, good := range [][]byte{Encode(cluster, anObject), EncodeLeader(cluster, aLeader)} {
		f.Add(good)
		f.Add(good[:20])
		f.Add(append(good, 0, 1))
	}
	f.Add([]byte("VRVA\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		refused := func(err error) bool {
			if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("error of no kind: %v", err)
			}
			return err != nil
		}
		c, a, err := Decode(b)
		if again := Encode(c, a); !refused(err) && !bytes.HasPrefix(b, again) {
			t.Errorf("%x decodes to %+v, which is %x", b, a, again)
		}
		c, l, err := DecodeLeader(b)
		if again := EncodeLeader(c, l); !refused(err) && !bytes.HasPrefix(b, again) {
			t.Errorf("%x decodes to %+v, which is %x", b, l, again)
		}
	})
}

func TestNewestOfEachJournalWaits(t *testing.T) {
	n := newNewest(&committed)
	for _, a := range []Announcement{{1, 1, 5, object}, {2, 1, 1, object}, {1, 1, 7, object}, {1, 2, 6, object}, {1, 2, 7, object}} {
		if !n.offer(a) {
			t.Errorf("%+v refused", a)
		}
	}
	got := map[uint32]Announcement{}
	for _, a := range n.take() {
		got[a.Journal] = a
	}
	if len(got) != 2 || got[1] != (Announcement{1, 2, 7, object}) || got[2].Seq != 1 {
		t.Errorf("took %v", got)
	}
	// Announcements that were taken hide nothing: a forged hint has cost one
	// delivery.
	n.offer(Announcement{1, 9, 1 << 62, object})
	n.take()
	n.offer(Announcement{1, 2, 8, object})
	if got := n.take(); len(got) != 1 || got[0].Seq != 8 {
		t.Errorf("after a forged one took %v", got)
	}
}

func TestNewestLeaderOfEachJournalWaits(t *testing.T) {
	n := newNewest(&leaders)
	of := func(journal, epoch uint32) membership.Leader {
		l := aLeader
		l.Journal, l.Epoch = journal, epoch
		return l
	}
	for _, l := range []membership.Leader{of(1, 4), of(2, 1), of(1, 5), of(1, 5), of(1, 3)} {
		if !n.offer(l) {
			t.Errorf("%+v refused", l)
		}
	}
	got := n.take()
	slices.SortFunc(got, func(a, b membership.Leader) int { return int(a.Journal) - int(b.Journal) })
	if !slices.Equal(got, []membership.Leader{of(1, 5), of(2, 1)}) {
		t.Errorf("took %v", got)
	}
}

func TestForgedJournalsCannotFillMemory(t *testing.T) {
	n := newNewest(&committed)
	for j := range uint32(maxJournals) {
		if !n.offer(Announcement{j, 1, 1, object}) {
			t.Fatalf("journal %d refused", j)
		}
	}
	if n.offer(Announcement{maxJournals, 1, 1, object}) {
		t.Error("one journal too many taken")
	}
	if !n.offer(Announcement{0, 1, 2, object}) {
		t.Error("newer hint of a journal that waits refused")
	}
	if got := len(n.take()); got != maxJournals {
		t.Errorf("%d wait", got)
	}
}

func TestParseReadsWhatNatsFlagTakes(t *testing.T) {
	for value, want := range map[string]struct {
		text     string
		embedded bool
	}{
		"embedded":                              {"embedded", true},
		"embedded://127.0.0.1:4222":             {"embedded://127.0.0.1:4222", true},
		"embedded://:5000":                      {"embedded://127.0.0.1:5000", true},
		"embedded://":                           {"embedded://127.0.0.1:4222", true},
		"embedded://localhost":                  {"embedded://localhost:4222", true},
		"embedded://[::1]:0":                    {"embedded://[::1]:0", true},
		"embedded://0.0.0.0:4222":               {"embedded://0.0.0.0:4222", true},
		"embedded://10.1.2.3:4222":              {"embedded://10.1.2.3:4222", true},
		"nats://a:4222":                         {"nats://a:4222", false},
		"tls://a:4222,b":                        {"tls://a:4222,tls://b:4222", false},
		"nats://u:secret@a,b:5, nats://[::1]:6": {"nats://a:4222,nats://b:5,nats://[::1]:6", false},
	} {
		s, err := Parse(value)
		if err != nil || s.String() != want.text || s.embedded != want.embedded {
			t.Errorf("%s: %s, %v, want %+v", value, s, err, want)
		}
	}
}

func TestParseRefusesTheRestWithoutShowingSecrets(t *testing.T) {
	for _, value := range []string{
		"", "none", "Embedded", "embedded:", "127.0.0.1:4222", "http://a:4222", "tls://a,nats://b", "embedded://a:b:c", "embedded://127.0.0.1:65536",
		"embedded://u:secret@127.0.0.1", "embedded://127.0.0.1:4222/x", "nats://", "nats://a:0", "nats://a,", "nats://u:secret@a:x",
		"nats://u:secret@a:70000", "nats://a/x", "nats://a,http://b",
	} {
		s, err := Parse(value)
		if err == nil {
			t.Errorf("%q: read as %s", value, s)
		} else if containsSecret(err) {
			t.Errorf("%q: error shows the password: %v", value, err)
		}
	}
}
