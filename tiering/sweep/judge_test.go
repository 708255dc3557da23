package sweep

import (
	"context"
	"sync"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

// together is a store that answers a read once another one is under way, too.
type together struct {
	objstore.Store
	second chan struct{}
	once   sync.Once
	first  chan struct{}
}

func (s *together) GetRange(context.Context, string, int64, []byte) error {
	select {
	case s.first <- struct{}{}: // capacity 1: this is the first one
		<-s.second
	default:
		s.once.Do(func() { close(s.second) })
	}
	return objstore.ErrNotFound
}

// It hangs if headers are read one after the other.
func TestHeadersAreReadNextToEachOther(t *testing.T) {
	s := &together{first: make(chan struct{}, 1), second: make(chan struct{})}
	j := judge{}
	j.next.Seq = 1
	j.readAhead(t.Context(), &Options{Journal: 1, Store: s}, headersAtOnce)
	if len(j.ahead) != headersAtOnce || j.ahead[headersAtOnce-1].err == nil {
		t.Errorf("%d headers were read", len(j.ahead))
	}
}
