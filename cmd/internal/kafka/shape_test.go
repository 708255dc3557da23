package kafka

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"runtime"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// apis are all keys, without handlers.
var apis = sync.OnceValue(func() map[int16]*listener.API {
	all := map[int16]*listener.API{}
	for i := range registrations {
		all[registrations[i].Key.Int16()] = &registrations[i].API
	}
	return all
})

// requestFor is an empty request of a key, also of a private one.
func requestFor(key int16) kmsg.Request {
	if a := apis()[key]; a != nil && a.Request != nil {
		return a.Request()
	}
	return kmsg.RequestForKey(key)
}

// costSlack is how much decoding may allocate beyond the cost of the shape: the
// request itself, rounding to size classes, and other goroutines.
const costSlack = 64 << 10

// drawRequest fills every field of a request with something.
func drawRequest(t *rapid.T, key, version int16) kmsg.Request {
	req := requestFor(key)
	req.SetVersion(version)
	fillValue(t, reflect.ValueOf(req).Elem())
	req.SetVersion(version)
	return req
}

func fillValue(t *rapid.T, v reflect.Value) {
	if v.Type() == reflect.TypeFor[kmsg.Tags]() {
		tags := v.Addr().Interface().(*kmsg.Tags)
		for range rapid.IntRange(0, 2).Draw(t, "tags") {
			tags.Set(rapid.Uint32Range(10, 1000).Draw(t, "tag"), rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "tag value"))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillValue(t, v.Field(i))
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			fillValue(t, v.Elem())
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fillValue(t, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fillValue(t, v.Index(i))
		}
	case reflect.String:
		v.SetString(rapid.StringN(0, 5, 20).Draw(t, "string"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.Int64Range(math.MinInt8, math.MaxInt8).Draw(t, "int"))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Byte().Draw(t, "byte")))
	}
}

func TestShapesFitWhatTheCodecWrites(t *testing.T) {
	for key, a := range apis() {
		for version := a.Min; version <= a.Max; version++ {
			rapid.Check(t, func(t *rapid.T) {
				req := drawRequest(t, key, version)
				body := req.AppendTo(nil)
				if _, err := a.Shape.Cost(body, version, req.IsFlexible()); err != nil {
					t.Fatalf("%s v%d: %v", a.Key.Name(), version, err)
				}
				if len(body) == 0 {
					return
				}
				for _, cut := range []int{len(body) - 1, rapid.IntRange(0, len(body)-1).Draw(t, "cut")} {
					if _, err := a.Shape.Cost(body[:cut], version, req.IsFlexible()); err == nil {
						t.Fatalf("%s v%d: %d of %d bytes pass", a.Key.Name(), version, cut, len(body))
					}
				}
			})
		}
	}
}

func TestCostCoversWhatDecodingAllocates(t *testing.T) {
	const n = 20_000
	name := "a-topic-with-some-name"
	sets := map[string]kmsg.Request{}
	produce := &kmsg.ProduceRequest{Version: 9}
	fetch := &kmsg.FetchRequest{Version: 12}
	meta := &kmsg.MetadataRequest{Version: 9}
	configs := &kmsg.DescribeConfigsRequest{Version: 4}
	for range n {
		produce.Topics = append(produce.Topics, kmsg.ProduceRequestTopic{Topic: name})
		fetch.Topics = append(fetch.Topics, kmsg.FetchRequestTopic{Partitions: make([]kmsg.FetchRequestTopicPartition, 1)})
		meta.Topics = append(meta.Topics, kmsg.MetadataRequestTopic{Topic: &name})
		configs.Resources = append(configs.Resources, kmsg.DescribeConfigsRequestResource{ConfigNames: []string{"x"}})
	}
	tagged := &kmsg.ApiVersionsRequest{Version: 3}
	for i := range uint32(n) {
		tagged.UnknownTags.Set(i, nil)
	}
	sets["topics"], sets["partitions"], sets["names"], sets["resources"], sets["tags"] = produce, fetch, meta, configs, tagged
	for name, req := range sets {
		body := req.AppendTo(nil)
		cost, err := apis()[req.Key()].Shape.Cost(body, req.GetVersion(), req.IsFlexible())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := allocatedBy(req.Key(), req.GetVersion(), body); got > uint64(cost)*3/2+costSlack {
			t.Errorf("%s: decoding %d bytes allocated %d, charged %d", name, len(body), got, cost)
		}
	}
}

// allocatedBy returns how many bytes decoding body allocates.
func allocatedBy(key, version int16, body []byte) uint64 {
	req := requestFor(key)
	req.SetVersion(version)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_ = req.ReadFrom(body)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestHostileCountsAreRefusedBeforeDecoding(t *testing.T) {
	u32 := binary.BigEndian.AppendUint32
	varint := binary.AppendUvarint
	zeros := make([]byte, 8<<20)
	cases := map[string]struct {
		key, version int16
		body         []byte
		want         error
	}{
		"a billion topics in 8 bytes":     {3, 0, u32(u32(nil, 1<<30), 0), listener.ErrMalformed},
		"compact count past 2^31":         {3, 9, append(varint(nil, 1<<32-1), 0, 0, 0), listener.ErrMalformed},
		"negative count":                  {3, 0, u32(nil, 1<<32-7), listener.ErrMalformed},
		"count as large as the frame":     {3, 0, append(u32(nil, 8<<20), zeros...), listener.ErrTooCostly},
		"four billion tags in 8 bytes":    {60, 0, append(varint([]byte{0}, 1<<32-1), 0, 0), listener.ErrMalformed},
		"as many tags as bytes":           {60, 0, append(varint([]byte{0}, 4<<20), zeros...), listener.ErrTooCostly},
		"tags inside a known tag":         {1, 15, append(fetchV15(), 1, 1, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f), listener.ErrMalformed},
		"string longer than the frame":    {18, 3, varint(nil, 1000), listener.ErrMalformed},
		"string longer than 32 KiB":       {18, 3, append(varint(nil, 1<<15+1), zeros[:1<<16]...), listener.ErrMalformed},
		"partitions nested without limit": {0, 9, manyPartitions(), listener.ErrTooCostly},
	}
	for name, c := range cases {
		req := requestFor(c.key)
		req.SetVersion(c.version)
		if _, err := apis()[c.key].Shape.Cost(c.body, c.version, req.IsFlexible()); !errors.Is(err, c.want) {
			t.Errorf("%s: error is %v, want %v", name, err, c.want)
		}
	}
}

// fetchV15 is a Fetch request up to its tags.
func fetchV15() []byte {
	req := kmsg.NewFetchRequest()
	req.Version = 15
	b := req.AppendTo(nil)
	return b[:len(b)-1]
}

func manyPartitions() []byte {
	req := &kmsg.ProduceRequest{Version: 9, Topics: make([]kmsg.ProduceRequestTopic, 3)}
	for i := range req.Topics {
		req.Topics[i].Partitions = make([]kmsg.ProduceRequestTopicPartition, 500_000)
	}
	return req.AppendTo(nil)
}

// FuzzRequest compares the walk with the decoder: a body that passes the walk
// must not make the decoder panic, or allocate more than was charged.
func FuzzRequest(f *testing.F) {
	topic, _ := newCluster().createLocked(metadata.NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 1}, false)
	for key, a := range apis() {
		for version := a.Min; version <= a.Max; version++ {
			f.Add(key, version, sample(key, version, topic).AppendTo(nil))
		}
	}
	f.Add(int16(3), int16(0), []byte{0x3f, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		a := apis()[key]
		if a == nil || !a.Supports(version) {
			return
		}
		req := requestFor(key)
		req.SetVersion(version)
		cost, err := a.Shape.Cost(body, version, req.IsFlexible())
		if err != nil {
			return
		}
		if got := allocatedBy(key, version, body); got > uint64(cost)*3/2+costSlack {
			t.Errorf("%s v%d: decoding %d bytes allocated %d, charged %d", a.Key.Name(), version, len(body), got, cost)
		}
	})
}
