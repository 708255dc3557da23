package session

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"
)

const stale = 2 * time.Minute

var alice, mallory = Owner{"User", "alice"}, Owner{"User", "mallory"}

// clocked is a Cache with a clock, whose sessions have the ids 1, 2, 3.
type clocked struct {
	*Cache[string]
	now time.Time
	t   *testing.T
}

func newClocked(t *testing.T, sessions int, bytes int64) *clocked {
	var last int32
	random := func() int32 { last++; return last }
	return &clocked{NewCache[string](Limits{sessions, bytes, stale}, random), time.Unix(1000, 0), t}
}

func (c *clocked) open(partitions int) (id int32, evicted []int32) {
	opened, gone := c.Open(c.now, Opening[string]{Owner: alice, Size: Size{partitions, int64(partitions)}})
	for _, g := range gone {
		if !g.Closed() {
			c.t.Errorf("session %d was evicted and is not closed", g.ID)
		}
		evicted = append(evicted, g.ID)
	}
	if opened == nil {
		return None, evicted
	}
	return opened.ID, evicted
}

// use continues a session in its next epoch.
func (c *clocked) use(id int32) {
	c.t.Helper()
	if _, err := c.Continue(c.now, id, c.sessions[id].epoch, alice, false); err != nil {
		c.t.Fatal(err)
	}
}

func (c *clocked) want(partitions int, id int32, evicted ...int32) {
	c.t.Helper()
	if got, gone := c.open(partitions); got != id || !slices.Equal(gone, evicted) {
		c.t.Errorf("opened %d and evicted %v, want %d and %v", got, gone, id, evicted)
	}
}

func TestASessionEvictsOneThatIsStale(t *testing.T) {
	c := newClocked(t, 2, 1000)
	c.want(10, 1)
	c.now = c.now.Add(time.Second)
	c.want(10, 2)
	c.now = c.now.Add(stale - time.Second)
	c.want(10, None) // session 1 was not used for exactly the limit
	c.now = c.now.Add(time.Millisecond)
	c.use(1)
	c.want(10, None)
	c.now = c.now.Add(time.Second)
	c.want(1, 3, 2)
	if use := c.Use(); use.Sessions != 2 || use.Partitions != 11 || use.Evictions != 1 {
		t.Errorf("in use %+v", use)
	}
}

// A session may evict a smaller one that has been used for long, but not one as large, nor
// one that is young.
func TestASessionEvictsASmallerOne(t *testing.T) {
	c := newClocked(t, 3, 1000)
	c.want(5, 1)
	c.want(3, 2)
	c.now = c.now.Add(stale)
	c.use(1)
	c.use(2)
	c.want(1, 3)
	c.want(100, None) // all are young
	c.now = c.now.Add(time.Millisecond)
	c.use(1)
	c.want(4, None)
	c.use(2)
	c.want(3, None)
	c.want(4, 4, 2)
	c.want(5, None)
	c.want(6, 5, 1)
}

func TestOfEqualSessionsTheOneWithTheLowestIDIsEvicted(t *testing.T) {
	c := newClocked(t, 3, 1000)
	for id := range int32(3) {
		c.want(2, id+1)
	}
	c.now = c.now.Add(stale + 1)
	for _, id := range []int32{3, 2, 1} {
		c.use(id)
	}
	c.want(3, 4, 1)
	c.want(3, 5, 2)
}

func TestSessionsAreEvictedForTheirBytes(t *testing.T) {
	c := newClocked(t, 100, 20)
	c.want(8, 1)
	c.want(8, 2)
	c.want(8, None)
	c.want(4, 3)
	if c.Resize(c.sessions[3], Size{5, 5}) || c.Use().Bytes != 20 {
		t.Error("a session grew beyond the limit")
	}
	if !c.Resize(c.sessions[3], Size{3, 3}) || !c.Resize(c.sessions[3], Size{4, 4}) {
		t.Error("a session did not grow within the limit")
	}
	c.now = c.now.Add(stale + 1)
	c.want(15, 4, 1, 2)
	c.want(21, None) // more than the limit evicts none
	if use := c.Use(); use.Bytes != 19 || use.Partitions != 19 || use.Sessions != 2 {
		t.Errorf("in use %+v", use)
	}
}

func TestASessionIsContinuedByItsNextRequestOnly(t *testing.T) {
	c := newClocked(t, 10, 1000)
	c.want(1, 1)
	for _, test := range []struct {
		id, epoch int32
		owner     Owner
		byID      bool
		want      error
	}{
		{2, 1, alice, false, ErrNotFound}, {0, 1, alice, false, ErrNotFound}, {1, 1, mallory, false, ErrNotFound},
		{1, 2, alice, false, ErrEpoch}, {1, -7, alice, false, ErrEpoch}, {1, 2, alice, true, ErrEpoch},
		{1, 1, alice, true, ErrTopicIDs},
		{1, 1, alice, false, nil}, {1, 1, alice, false, ErrEpoch}, {1, 2, alice, false, nil},
	} {
		if _, err := c.Continue(c.now, test.id, test.epoch, test.owner, test.byID); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
	c.sessions[1].epoch = math.MaxInt32
	c.use(1)
	if got := c.sessions[1].Epoch(); got != 1 {
		t.Errorf("after the last epoch comes %d", got)
	}
	if c.Close(1, mallory) != nil {
		t.Error("a stranger closed the session")
	}
	s := c.Close(1, alice)
	if c.Drop(s); s == nil || !s.Closed() || c.Close(1, alice) != nil || c.Use().Sessions != 0 || c.Use().Partitions != 0 {
		t.Errorf("closed %+v, in use %+v", s, c.Use())
	}
	if c.Resize(s, Size{}) {
		t.Error("a closed session was resized")
	}
}

func TestIDsAreOnesThatNoSessionHas(t *testing.T) {
	numbers := []int32{7, 0, -1, 7, 9}
	c := NewCache[string](Limits{10, 10, stale}, func() int32 { n := numbers[0]; numbers = numbers[1:]; return n })
	for _, want := range []int32{7, 9} {
		if s, _ := c.Open(time.Time{}, Opening[string]{}); s.ID != want {
			t.Errorf("id %d, want %d", s.ID, want)
		}
	}
}
