package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestEventsAreTheSameForASeed(t *testing.T) {
	a, b, other := newEvents(1), newEvents(1), newEvents(2)
	differs := false
	for range 100 {
		key, value := a.next()
		key2, value2 := b.next()
		_, value3 := other.next()
		if !bytes.Equal(key, key2) || !bytes.Equal(value, value2) {
			t.Fatalf("%s and %s", value, value2)
		}
		differs = differs || !bytes.Equal(value, value3)
		if !json.Valid(value) || len(value) < 300 || len(value) > 8000 {
			t.Fatalf("%d bytes: %s", len(value), value)
		}
	}
	if !differs {
		t.Error("another seed makes the same events")
	}
}

func TestStudiesAreListed(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--archive", "--list"}, &out, io.Discard); err != nil || !strings.Contains(out.String(), "replay/1000: ") {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if err := run(t.Context(), []string{"--archive", "--only", "none"}, io.Discard, io.Discard); err == nil {
		t.Error("no study is chosen, and nothing is wrong")
	}
}

func TestCounterCountsGetsOfObjects(t *testing.T) {
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host)
	}))
	defer store.Close()
	c, err := startCounter(strings.TrimPrefix(store.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, path := range []string{"/bucket/a/b", "/bucket/c", "/bucket/?list-type=2", "/bucket/?location", "/bucket"} {
		response, err := http.Get("http://" + c.address + path)
		if err != nil {
			t.Fatal(err)
		}
		host, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if string(host) != c.address {
			t.Errorf("the store saw the host %q, which is signed: it was %q", host, c.address)
		}
	}
	if c.requests.Load() != 2 || c.lists.Load() != 1 || c.others.Load() != 2 || c.bytes.Load() != 5*int64(len(c.address)) {
		t.Errorf("counted %d objects, %d lists, %d others, %d bytes", c.requests.Load(), c.lists.Load(), c.others.Load(), c.bytes.Load())
	}
}

// The long run's check must see each kind of wrong answer.
func TestSoakSeesWrongRecords(t *testing.T) {
	for i := range soakTopics {
		l := &soakLoad{noise: noise(1 << 20)}
		p := &soakPart{topic: &soakTopics[i], records: 100}
		p.acked.Store(100)
		at := func(offset int64) *kgo.Record {
			r := l.record(p, offset)
			r.Offset = offset
			return r
		}
		for offset := range int64(100) {
			l.check(t.Context(), nil, p, offset, at(offset))
		}
		if err := l.failures(); err != nil {
			t.Fatal(err)
		}
		wrong := at(7)
		wrong.Offset = 8
		l.check(t.Context(), nil, p, 8, wrong) // another one's content
		l.check(t.Context(), nil, p, 8, at(7)) // back
		l.acknowledged(p, 5, at(6), nil)
		l.acknowledged(p, 5, nil, context.DeadlineExceeded)
		want := 4
		if p.topic.name == "keep" {
			want = 5
			l.check(t.Context(), nil, p, 7, at(9)) // a hole
		}
		if p.compacted() {
			last := map[string]int64{}
			for offset := range int64(99) {
				last[string(at(offset).Key)] = offset
			}
			if l.record(p, 99).Value != nil {
				want++
			}
			l.checkLast(p, last) // without the last record
		}
		if len(l.found) != want {
			t.Errorf("%s: found %v", p.topic.name, l.failures())
		}
	}
}

func TestSheetIsATable(t *testing.T) {
	s := &sheet{Name: "name", Columns: []string{"a", "b"}}
	s.add("1", "22")
	s.note("a note of %d", 3)
	var out bytes.Buffer
	if err := s.print(&out); err != nil || out.String() != "\nname\n  a   b\n  1  22\na note of 3\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	low, middle, high := spread([]float64{3, 1, 2}, func(x float64) float64 { return x })
	if low != 1 || middle != 2 || high != 3 || mean([]float64{1, 2, 6}, func(x float64) float64 { return x }) != 3 {
		t.Errorf("spread %v, %v, %v", low, middle, high)
	}
}
