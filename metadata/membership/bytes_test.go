package membership

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/segment"
)

var (
	aLeader = Leader{Journal: 1, Node: segment.ID{2}, Epoch: 3, Settled: segment.Ref{Seq: 4, Object: segment.ID{5}}, Head: 6}
	aReport = Report{Leader: Leader{Journal: 7, Node: nodeNo(1), Epoch: 8, Settled: segment.Ref{Seq: 9, Object: segment.ID{10}}, Head: 11},
		Leads: true, Blocked: true, Taking: 12 * time.Millisecond, Idle: 13 * time.Millisecond, Reconciled: 14, Load: 15, Declined: 16}
	aController = Leader{Node: segment.ID{17}, Epoch: 18}
)

// messages are all bodies, each with its decoder.
var messages = map[string]struct {
	body   []byte
	decode func([]byte) (any, error)
	want   any
}{
	"register":       {must(AppendRegister(nil, nodeNo(1), runOf(1))), func(b []byte) (any, error) { return DecodeRegister(b, nodeNo(1), runOf(1).Start) }, runOf(1)},
	"registered":     {AppendRegistered(nil, 19), func(b []byte) (any, error) { return DecodeRegistered(b) }, int32(19)},
	"heartbeat":      {theHeartbeat.Append(nil), func(b []byte) (any, error) { return DecodeHeartbeat(b, nodeNo(1), runOf(1).Start) }, theHeartbeat},
	"answer":         {theAnswer.Append(nil), func(b []byte) (any, error) { return DecodeAnswer(b) }, theAnswer},
	"question":       {AppendQuestion(nil, aController), func(b []byte) (any, error) { return DecodeQuestion(b) }, aController},
	"reply":          {theReply.Append(nil), func(b []byte) (any, error) { return DecodeReply(b) }, theReply},
	"probed":         {AppendProbed(nil, true), func(b []byte) (any, error) { return DecodeProbed(b) }, true},
	"hand over":      {HandOver{21, 22}.Append(nil), func(b []byte) (any, error) { return DecodeHandOver(b) }, HandOver{21, 22}},
	"internal topic": {AppendInternalTopic(nil, metadata.ConsumerOffsets), func(b []byte) (any, error) { return DecodeInternalTopic(b) }, metadata.ConsumerOffsets},
	"seq":            {AppendSeq(nil, 23), func(b []byte) (any, error) { return DecodeSeq(b) }, uint64(23)},
	"producer ids":   {AppendProducerIDs(nil, theIDs), func(b []byte) (any, error) { return DecodeProducerIDs(b) }, theIDs},
	"handing":        {Keeps.Append(nil), func(b []byte) (any, error) { return DecodeHanding(b) }, Keeps},
}

var (
	theHeartbeat = Heartbeat{Node: nodeNo(1), Start: runOf(1).Start, Applied: 20, Leaving: true, Journals: []Report{aReport}}
	theAnswer    = Answer{Claims: true, Seq: 20, Leaders: []Leader{aLeader}}
	theIDs       = metadata.ProducerIDBlock{Next: 24, End: 29}
	theReply     = Reply{Opinion: Silent, Controller: aController}
)

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestMessagesComeBack(t *testing.T) {
	for name, m := range messages {
		if got, err := m.decode(m.body); err != nil || !reflect.DeepEqual(got, m.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, m.want)
		}
		for i := range m.body {
			if got, err := m.decode(m.body[:i]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %+v, %v", name, i, got, err)
			}
		}
		if name == "register" {
			continue // an entry has a version
		}
		if got, err := m.decode(append(bytes.Clone(m.body), 1, 2)); err != nil || !reflect.DeepEqual(got, m.want) {
			t.Errorf("%s with appended fields: %+v, %v", name, got, err)
		}
	}
}

func TestItemsMayHaveMoreFields(t *testing.T) {
	with := func(head, item []byte, n byte) []byte {
		b := append(bytes.Clone(head), 0, byte(len(item)+2), 0, 0, 0, n)
		for range n {
			b = append(append(b, item...), 7, 7)
		}
		return b
	}
	h := theHeartbeat.Append(nil)
	got, err := DecodeHeartbeat(with(h[:9], h[15:], 2), nodeNo(1), runOf(1).Start)
	if err != nil || len(got.Journals) != 2 || got.Journals[1] != aReport {
		t.Errorf("heartbeat %+v, %v", got, err)
	}
	a := theAnswer.Append(nil)
	answer, err := DecodeAnswer(with(a[:9], a[15:], 3))
	if err != nil || len(answer.Leaders) != 3 || answer.Leaders[2] != aLeader {
		t.Errorf("answer %+v, %v", answer, err)
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	unsettled := theHeartbeat
	unsettled.Journals = []Report{{Leader: Leader{Journal: 1, Epoch: 3}, Leads: true}}
	many := theAnswer.Append(nil)
	many[11] = 0x7f
	small := theHeartbeat.Append(nil)
	small[10]--
	for name, err := range map[string]error{
		"leads without a filler":   second(DecodeHeartbeat(unsettled.Append(nil), nodeNo(1), runOf(1).Start)),
		"more items than bytes":    second(DecodeAnswer(many)),
		"items that are too small": second(DecodeHeartbeat(small, nodeNo(1), runOf(1).Start)),
		"claims 2":                 second(DecodeAnswer(append([]byte{2}, many[1:9]...))),
		"another node registers":   second(DecodeRegister(messages["register"].body, nodeNo(2), runOf(1).Start)),
		"another start registers":  second(DecodeRegister(messages["register"].body, nodeNo(1), runOf(2).Start)),
		"no opinion":               second(DecodeReply((&Reply{}).Append(nil))),
		"unknown opinion":          second(DecodeReply((&Reply{Opinion: 5}).Append(nil))),
		"of a data journal":        second(DecodeQuestion(AppendQuestion(nil, aLeader))),
		"of journal 0":             second(DecodeHandOver(HandOver{0, 1}.Append(nil))),
		"no assignment":            second(DecodeHandOver(HandOver{1, 0}.Append(nil))),
		"unknown answer":           second(DecodeHanding([]byte{4})),
		"broker id 0":              second(DecodeRegistered(AppendRegistered(nil, 0))),
		"topic of a client":        second(DecodeInternalTopic(AppendInternalTopic(nil, "t"))),
		"seq 0":                    second(DecodeSeq(AppendSeq(nil, 0))),
		"no producer ids":          second(DecodeProducerIDs(AppendProducerIDs(nil, metadata.ProducerIDBlock{Next: 5, End: 5}))),
		"producer id 0":            second(DecodeProducerIDs(AppendProducerIDs(nil, metadata.ProducerIDBlock{End: 5}))),
		"too many producer ids":    second(DecodeProducerIDs(append(AppendSeq(nil, math.MaxInt64), 0, 0, 0, 9))),
		"probed 2":                 second(DecodeProbed([]byte{2})),
	} {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := AppendRegister(nil, nodeNo(1), metadata.Run{}); err == nil {
		t.Error("a run without addresses asks to be registered")
	}
}

func second[T any](_ T, err error) error { return err }

func TestTimesOfAReportAreRounded(t *testing.T) {
	h := Heartbeat{Journals: []Report{{Taking: 1, Idle: time.Millisecond - 1}, {Taking: 1 << 62, Idle: 1 << 62}}}
	got, err := DecodeHeartbeat(h.Append(nil), segment.ID{}, segment.ID{})
	if err != nil || got.Journals[0].Taking != time.Millisecond || got.Journals[0].Idle != 0 {
		t.Errorf("%+v, %v: a journal that is taken must not look as if it was led", got, err)
	}
	if p := got.Journals[1]; p.Taking < 24*time.Hour || p.Idle < 24*time.Hour {
		t.Errorf("long times are %v and %v", p.Taking, p.Idle)
	}
}

func TestMessagesAreAsTheirPageSays(t *testing.T) {
	page := bytemap.Read(t, "MESSAGES.md")
	h, a := theHeartbeat.Append(nil), theAnswer.Append(nil)
	l := AppendQuestion(nil, aLeader)
	page.Check(t, map[string]bytemap.Structure{
		"Registered": bytemap.Of(AppendRegistered(nil, 19), 4, map[string]any{"broker id": int32(19)}),
		"Report": bytemap.Of(h[15:], reportSize, map[string]any{"journal": uint32(7), "epoch": uint32(8), "settled seq": uint64(9),
			"settled object": segment.ID{10}, "head": uint64(11), "flags": uint8(3), "taking": uint32(12), "idle": uint32(13),
			"reconciled": uint64(14), "load": uint64(15), "declined": uint32(16)}),
		"Leader": bytemap.Of(l, leaderSize, map[string]any{"journal": uint32(1), "node": segment.ID{2}, "epoch": uint32(3),
			"settled seq": uint64(4), "settled object": segment.ID{5}, "head": uint64(6)}),
		"Opinion":      bytemap.Of(theReply.Append(nil), 1+leaderSize, map[string]any{"opinion": uint8(3), "controller": AppendQuestion(nil, aController)}),
		"Probed":       bytemap.Of(AppendProbed(nil, true), 1, map[string]any{"works": uint8(1)}),
		"Hand over":    bytemap.Of(HandOver{21, 22}.Append(nil), 8, map[string]any{"journal": uint32(21), "assignment": uint32(22)}),
		"Handing":      bytemap.Of(Keeps.Append(nil), 1, map[string]any{"handing": uint8(2)}),
		"Producer ids": bytemap.Of(AppendProducerIDs(nil, theIDs), 12, map[string]any{"first": int64(24), "count": uint32(5)}),
		"Seq":          bytemap.Of(AppendSeq(nil, 23), 8, map[string]any{"seq": uint64(23)}),
	})
	page.CheckSequence(t, "Heartbeat", h, bytemap.Field{Name: "applied", Value: uint64(20)}, bytemap.Field{Name: "flags", Value: uint8(1)},
		bytemap.Field{Name: "size of a report", Value: uint16(reportSize)},
		bytemap.Field{Name: "reports", Value: uint32(1)}, bytemap.Field{Name: "the reports", Value: h[15:]})
	page.CheckSequence(t, "Answer", a, bytemap.Field{Name: "claims", Value: uint8(1)}, bytemap.Field{Name: "newest", Value: uint64(20)},
		bytemap.Field{Name: "size of a leader", Value: uint16(leaderSize)}, bytemap.Field{Name: "leaders", Value: uint32(1)}, bytemap.Field{Name: "the leaders", Value: l})
}

// TestBytesOfMessages pins them: nodes of other versions have them.
func TestBytesOfMessages(t *testing.T) {
	const leader = "00000001" + "02000000000000000000000000000000" + "00000003" + "0000000000000004" + "05000000000000000000000000000000" + "0000000000000006"
	for name, want := range map[string]string{
		"heartbeat": "0000000000000014" + "01" + "0045" + "00000001" + "00000007" + "00000008" + "0000000000000009" + "0a000000000000000000000000000000" +
			"000000000000000b" + "03" + "0000000c" + "0000000d" + "000000000000000e" + "000000000000000f" + "00000010",
		"answer": "01" + "0000000000000014" + "0038" + "00000001" + leader,
		"reply":  "03" + "00000000" + "11000000000000000000000000000000" + "00000012" + "0000000000000000" + "00000000000000000000000000000000" + "0000000000000000",
		"register": "01" + "a0000000000000000000000000000001" + "5a000000000000000000000000000001" + "0001" + "0003" + "01" + "0000" + "0001" +
			"0004" + hex.EncodeToString([]byte("peer")) + "0004" + hex.EncodeToString([]byte("host")) + "0001",
		"registered": "00000013", "probed": "01", "hand over": "00000015" + "00000016", "handing": "02",
	} {
		if got := hex.EncodeToString(messages[name].body); got != want {
			t.Errorf("compatibility: %s is\n%s, want\n%s", name, got, want)
		}
	}
}

// FuzzMessages: decoders take all bytes, and a message that is read comes back.
func FuzzMessages(f *testing.F) {
	for _, name := range sortedKeys(messages) {
		f.Add(messages[name].body)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again := func(body []byte, v any, decode func([]byte) (any, error)) {
			if got, err := decode(body); err != nil || !reflect.DeepEqual(got, v) {
				t.Fatalf("%+v comes back as %+v, %v", v, got, err)
			}
		}
		if h, err := DecodeHeartbeat(b, nodeNo(1), runOf(1).Start); err == nil {
			again(h.Append(nil), h, messages["heartbeat"].decode)
		}
		if a, err := DecodeAnswer(b); err == nil {
			again(a.Append(nil), a, messages["answer"].decode)
		}
		if p, err := DecodeReply(b); err == nil {
			again(p.Append(nil), p, messages["reply"].decode)
		}
		if l, err := DecodeQuestion(b); err == nil {
			again(AppendQuestion(nil, l), l, messages["question"].decode)
		}
		if run, err := DecodeRegister(b, nodeNo(1), runOf(1).Start); err == nil {
			again(must(AppendRegister(nil, nodeNo(1), run)), run, messages["register"].decode)
		}
		if h, err := DecodeHandOver(b); err == nil {
			again(h.Append(nil), h, messages["hand over"].decode)
		}
	})
}
