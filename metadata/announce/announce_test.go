package announce

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

var (
	cluster = segment.ID{0xc1, 15: 0xc2}
	object  = segment.ID{0x0b, 15: 0x0c}
)

func TestMessageLayoutIsPinned(t *testing.T) {
	const want = "56525641" + "01" + "c10000000000000000000000000000c2" +
		"00000007" + "00000003" + "000000000000002a" + "0b00000000000000000000000000000c"
	got := Encode(cluster, Announcement{Journal: 7, Epoch: 3, Seq: 42, Object: object})
	if hex.EncodeToString(got) != want {
		t.Errorf("compatibility: message is\n%x, want\n%s", got, want)
	}
	if len(got) != size || size > MaxMessageSize {
		t.Errorf("%d bytes", len(got))
	}
	if s := subject(cluster, 7); s != "varve.c10000000000000000000000000000c2.journal.7" {
		t.Errorf("compatibility: subject is %s", s)
	}
}

func TestDamagedMessagesAreReported(t *testing.T) {
	good := Encode(cluster, Announcement{Journal: 7, Epoch: 3, Seq: 42, Object: object})
	change := func(at int, to ...byte) []byte {
		b := append([]byte(nil), good...)
		copy(b[at:], to)
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":        {nil, ErrCorrupt},
		"magic":        {change(0, 'X'), ErrCorrupt},
		"version 0":    {change(4, 0), ErrCorrupt},
		"version 2":    {change(4, 2), ErrUnsupported},
		"cut":          {good[:len(good)-1], ErrCorrupt},
		"longer":       {append(append([]byte(nil), good...), 0), ErrCorrupt},
		"too long":     {append(append([]byte(nil), change(4, 2)...), make([]byte, MaxMessageSize)...), ErrCorrupt},
		"zero cluster": {change(5, make([]byte, 16)...), ErrCorrupt},
		"zero epoch":   {change(25, 0, 0, 0, 0), ErrCorrupt},
		"zero seq":     {change(29, make([]byte, 8)...), ErrCorrupt},
		"zero object":  {change(37, make([]byte, 16)...), ErrCorrupt},
	} {
		if _, _, err := Decode(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	good := Encode(cluster, Announcement{Journal: 7, Epoch: 3, Seq: 42, Object: object})
	f.Add(good)
	f.Add(good[:20])
	f.Add([]byte("VRVA\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, a, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		if again := Encode(c, a); string(again) != string(b) {
			t.Errorf("%x decodes to %+v, which is %x", b, a, again)
		}
	})
}

func TestNewestOfEachJournalWaits(t *testing.T) {
	n := newNewest()
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

func TestForgedJournalsCannotFillMemory(t *testing.T) {
	n := newNewest()
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
		"", "none", "Embedded", "embedded:", "127.0.0.1:4222", "tls://a:4222", "embedded://a:b:c", "embedded://127.0.0.1:65536",
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
