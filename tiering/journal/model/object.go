package model

import "fmt"

type kind uint8

const (
	fence kind = iota + 1
	filler
	data
)

func (k kind) String() string { return [...]string{"nothing", "fence", "filler", "data"}[k] }

// ref names an object as a predecessor: its seq, epoch and writer, which stand
// for its object id. Four bits each; 0 is none.
type ref uint16

func newRef(seq, epoch, writer uint8) ref {
	return ref(seq) | ref(epoch)<<4 | ref(writer)<<8
}

func (r ref) seq() uint8    { return uint8(r & 15) }
func (r ref) epoch() uint8  { return uint8(r >> 4 & 15) }
func (r ref) writer() uint8 { return uint8(r >> 8 & 15) }

// object is the content of a PUT: its own ref, that of its predecessor, its
// kind, and the version of its bytes (always 0 under rule 3). A data segment
// names the fence of its leadership: seq and writer imply the rest of the
// chain, because a leader's data segments follow each other without gaps. 0 is
// no object.
type object uint32

func newObject(k kind, own, prev ref, version uint8) object {
	return object(own) | object(prev)<<12 | object(k)<<24 | object(version)<<26
}

func (o object) ref() ref       { return ref(o & 0xfff) }
func (o object) prev() ref      { return ref(o >> 12 & 0xfff) }
func (o object) kind() kind     { return kind(o >> 24 & 3) }
func (o object) version() uint8 { return uint8(o >> 26 & 3) }
func (o object) seq() uint8     { return o.ref().seq() }
func (o object) epoch() uint8   { return o.ref().epoch() }
func (o object) writer() uint8  { return o.ref().writer() }

func (o object) String() string {
	if o == 0 {
		return "nothing"
	}
	s := fmt.Sprintf("%v of epoch %d by p%d", o.kind(), o.epoch(), o.writer())
	if o.version() > 0 {
		s += fmt.Sprintf(", version %d", o.version()+1)
	}
	return s
}
