package peer

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/tiering/segment"
)

// piped is a connection that has proved itself, and its other end.
func piped(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	c := &Conn{nc: near, in: bufio.NewReader(near), format: kmsg.NewRequestFormatter(), most: MaxAnswer}
	t.Cleanup(func() { c.Close() })
	return c, far
}

// answerOne answers one request at the far end.
func answerOne(far net.Conn, body string) {
	head := make([]byte, 4)
	io.ReadFull(far, head)
	frame := make([]byte, binary.BigEndian.Uint32(head))
	io.ReadFull(far, frame)
	reply := (&Reply{Body: []byte(body)}).AppendTo(nil)
	out := binary.BigEndian.AppendUint32(nil, uint32(4+len(reply)))
	out = append(out, frame[4:8]...) // the correlation id
	far.Write(append(out, reply...))
}

// The end of a connection is noticed between two requests, and the next one is not sent.
func TestAWatchNoticesTheEnd(t *testing.T) {
	for name, end := range map[string]func(net.Conn){
		"closed":    func(far net.Conn) { far.Close() },
		"no answer": func(far net.Conn) { far.Write([]byte{0}) },
	} {
		synctest.Test(t, func(t *testing.T) {
			c, far := piped(t)
			ends := 0
			c.Watch(func() { ends++ })
			if synctest.Wait(); ends != 0 {
				t.Errorf("%s: it has ended before", name)
			}
			end(far)
			if synctest.Wait(); ends != 1 {
				t.Errorf("%s: the end is reported %d times", name, ends)
			}
			if _, err := c.Ask(t.Context(), KindProbe, nil); !errors.Is(err, ErrEnded) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := c.Ask(t.Context(), KindProbe, nil); err == nil {
				t.Errorf("%s: a second request is answered", name)
			}
		})
	}
}

// A request ends a watch, and Close does. Neither is an end that is reported.
func TestARequestEndsAWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := piped(t)
		watch := func() { c.Watch(func() { t.Error("an end is reported") }) }
		for range 3 {
			watch()
			synctest.Wait()
			go answerOne(far, "yes")
			if got, err := c.Ask(t.Context(), KindProbe, nil); err != nil || string(got) != "yes" {
				t.Fatalf("%q, error %v", got, err)
			}
		}
		watch()
		synctest.Wait()
		c.Close()
		synctest.Wait()
	})
}

// An end that has proved nothing gets no memory.
func TestAnswersBeforeTheProofAreSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		d := &Dialer{
			Self: caller, Key: func() (segment.PeerKey, error) { return theKey, nil }, Random: rand.Reader,
			Dial: func(context.Context, string) (net.Conn, error) { return near, nil },
		}
		go func() {
			io.ReadFull(far, make([]byte, 16))
			go io.Copy(io.Discard, far)
			head := binary.BigEndian.AppendUint32(nil, 1<<20)
			far.Write(binary.BigEndian.AppendUint32(head, 1))
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.To(ctx, "a", segment.ID{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v", err)
		}
	})
}
