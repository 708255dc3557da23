package kafka

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

func drawFetchAnswer(t *rapid.T, version int16) *fetchAnswer {
	int16s := rapid.Int16()
	a := &fetchAnswer{version: version, code: int16s.Draw(t, "code"), readCommitted: rapid.Bool().Draw(t, "read committed")}
	a.topics = rapid.SliceOfN(rapid.Custom(drawFetchedTopic), 0, 3).Draw(t, "topics")
	for range rapid.IntRange(0, 2).Draw(t, "nodes") {
		a.addNode(endpoint{
			id: rapid.Int32().Draw(t, "node"), Address: Address{rapid.String().Draw(t, "host"), rapid.Int32().Draw(t, "port")},
			rack: rackOf(Broker{Rack: rapid.String().Draw(t, "rack")}),
		})
	}
	return a
}

func drawFetchedTopic(t *rapid.T) fetchedTopic {
	var out fetchedTopic
	out.name = rapid.String().Draw(t, "name")
	copy(out.id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	out.partitions = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fetchedPartition {
		p := emptyPartition(rapid.Int32().Draw(t, "index"))
		p.code = rapid.Int16().Draw(t, "code")
		p.highWatermark, p.logStart = rapid.Int64().Draw(t, "hwm"), rapid.Int64().Draw(t, "start")
		p.records = rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 300), 0, 3).Draw(t, "records")
		if rapid.Bool().Draw(t, "leader") {
			p.leader, p.leaderEpoch = rapid.Int32Min(0).Draw(t, "leader"), rapid.Int32().Draw(t, "epoch")
		}
		return p
	}), 0, 3).Draw(t, "partitions")
	return out
}

// reference is the answer as the codec library has it.
func (a *fetchAnswer) reference() *kmsg.FetchResponse {
	resp := &kmsg.FetchResponse{Version: a.version, ErrorCode: a.code}
	for _, t := range a.topics {
		rt := kmsg.FetchResponseTopic{Topic: t.name, TopicID: t.id}
		for _, p := range t.partitions {
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.index, p.code
			rp.HighWatermark, rp.LastStableOffset, rp.LogStartOffset = p.highWatermark, p.highWatermark, p.logStart
			rp.RecordBatches = append([]byte{}, bytes.Join(p.records, nil)...)
			if a.readCommitted {
				rp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
			}
			if a.version >= fetchLeaders && p.leader >= 0 {
				rp.CurrentLeader.LeaderID, rp.CurrentLeader.LeaderEpoch = p.leader, p.leaderEpoch
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	for _, n := range a.nodes {
		if a.version >= fetchLeaders {
			resp.Brokers = append(resp.Brokers, kmsg.FetchResponseBroker{NodeID: n.id, Host: n.Host, Port: n.Port, Rack: n.rack})
		}
	}
	return resp
}

func TestFetchEncoderAgreesWithTheCodecInEveryVersion(t *testing.T) {
	for version := apis()[1].Min; version <= apis()[1].Max; version++ {
		rapid.Check(t, func(t *rapid.T) {
			a := drawFetchAnswer(t, version)
			got := bytes.Join(a.encode([]byte("head")), nil)
			want := append([]byte("head"), a.reference().AppendTo(nil)...)
			if !bytes.Equal(got, want) {
				t.Fatalf("v%d:\n%swant:\n%s", version, hex.Dump(got), hex.Dump(want))
			}
		})
	}
}

func TestFetchEncoderDoesNotCopyRecords(t *testing.T) {
	records := [][]byte{[]byte("first"), []byte("second")}
	p := emptyPartition(0)
	p.records = records
	a := &fetchAnswer{version: 12, topics: []fetchedTopic{{name: "t", partitions: []fetchedPartition{p, p}}}}
	found := 0
	for _, b := range a.encode(nil) {
		for _, r := range records {
			if &b[0] == &r[0] {
				found++
			}
		}
	}
	if found != 4 {
		t.Errorf("%d of 4 record slices are in the answer as they are", found)
	}
}

func TestRecordsAreNeverNull(t *testing.T) {
	for version := apis()[1].Min; version <= apis()[1].Max; version++ {
		a := &fetchAnswer{version: version, topics: []fetchedTopic{{partitions: []fetchedPartition{emptyPartition(0)}}}}
		resp := kmsg.FetchResponse{Version: version}
		if err := resp.ReadFrom(bytes.Join(a.encode(nil), nil)); err != nil {
			t.Fatal(err)
		}
		if resp.Topics[0].Partitions[0].RecordBatches == nil {
			t.Errorf("v%d: records are null", version)
		}
	}
}

func FuzzFetchEncoder(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		version := rapid.Int16Range(apis()[1].Min, apis()[1].Max).Draw(t, "version")
		a := drawFetchAnswer(t, version)
		if got, want := bytes.Join(a.encode(nil), nil), a.reference().AppendTo(nil); !bytes.Equal(got, want) {
			t.Fatalf("v%d: %x, want %x", version, got, want)
		}
	}))
}
