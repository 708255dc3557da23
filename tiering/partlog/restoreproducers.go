package partlog

import (
	"errors"
	"fmt"
	"slices"
)

// producerPageRefs reads n references to pages of producers.
func (d *decoder) producerPageRefs(n uint32) error {
	r := d.r
	for range r.Count(n, producerPageRefSize) {
		number := r.U32()
		p := &producerPage{position: r.U32(), length: r.U32(), crc: r.U32(), total: r.U32()}
		r.Zeros(4)
		p.beforeMs = r.I64()
		object, err := d.object(number)
		if err != nil {
			return err
		}
		least := producerPageFixedSize + producersOfPartSize + uint64(p.total)*(producerFixedSize+producerBatchSize)
		switch p.object = object; {
		case uint64(p.position)+uint64(p.length) > uint64(object.size):
			return fmt.Errorf("page of %d bytes at %d in %d bytes", p.length, p.position, object.size)
		case p.total == 0 || uint64(p.length) < least || p.beforeMs < 0:
			return fmt.Errorf("page of %d bytes with %d producers, expired before %d", p.length, p.total, p.beforeMs)
		}
		d.s.producerPages = append(d.s.producerPages, p)
	}
	return r.Err()
}

var errFewPages = errors.New("fewer pages of producers were read than there are")

// producerPages takes the producers that the pages have, from the newest to the oldest:
// the newest state of a producer counts.
func (d *decoder) producerPages(read ReadPages) error {
	pages := slices.Clone(d.s.producerPages)
	if len(pages) == 0 {
		return nil
	}
	slices.Reverse(pages)
	named := make([]*ProducerPage, len(pages))
	for i, p := range pages {
		named[i] = p.export(d.s.journal)
	}
	n := 0
	for b, err := range read(named) {
		if err == nil {
			err = d.producerPage(pages[n], named[n], b)
		}
		if err != nil {
			return err
		}
		if n++; n == len(pages) {
			return nil
		}
	}
	return errFewPages
}

func (d *decoder) producerPage(page *producerPage, named *ProducerPage, b []byte) error {
	err := walkProducerPage(named, b, func(k Key, q stored) error {
		p := d.s.parts[k]
		switch {
		case p == nil && d.tiered():
			return nil // it has left the state since
		case p == nil:
			return fmt.Errorf("producers of partition %s-%d, which the state does not have", k.Topic, k.Index)
		case d.only:
			return nil
		}
		if n := len(page.members); n == 0 || page.members[n-1].key != k {
			page.members = append(page.members, producersOf{key: k})
		}
		m := &page.members[len(page.members)-1]
		m.ids = append(m.ids, q.id)
		if page.beforeMs == 0 || q.usedMs >= page.beforeMs {
			p.producers.restore(q, page)
		}
		return nil
	})
	for i := range page.members {
		page.members[i].ids = slices.Clone(page.members[i].ids) // there may be a million
	}
	return err
}
