package partlog

import (
	"cmp"

	"github.com/varvelog/varve/tiering/segment"
)

// DecodeNames returns the pages that a checkpoint names, and reads none: pages of refs by
// the index object that they lie in, and pages of producers.
func DecodeNames(journal uint32, payload []byte) (map[segment.ID][]*Page, []*ProducerPage, error) {
	d, err := decode(journal, payload)
	if err != nil {
		return nil, nil, err
	}
	return d.s.Pages(), d.s.ProducerPages(), nil
}

// DecodeExtents returns the state of a checkpoint without the producers that are in pages,
// for look-ups of extents alone.
func DecodeExtents(journal uint32, payload []byte) (*State, error) {
	d, err := decode(journal, payload)
	if err != nil {
		return nil, err
	}
	return d.s, nil
}

// IndexNames returns the index objects that a checkpoint names. It reads no more of it than
// their list.
func IndexNames(journal uint32, payload []byte) ([]segment.IndexName, error) {
	d, err := newDecoder(journal, payload)
	if err != nil {
		return nil, err
	}
	h, err := d.head()
	if err == nil {
		err = cmp.Or(d.indexObjects(h.objects), d.r.Err())
	}
	if err != nil {
		return nil, d.corrupt(err)
	}
	names := make([]segment.IndexName, len(d.objects))
	for i, o := range d.objects {
		names[i] = o.name(journal)
	}
	return names, nil
}
