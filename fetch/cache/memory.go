package cache

import "container/list"

// memory decides which bytes stay. It keeps blocks, and the bytes that replays have
// read, by how recently they were used. Plain recency fits logs: all readers at the
// tail read the newest blocks. A policy that first asks how often a block was read turns
// just these away. A replay would push them out, so it has a share of its own instead.
// There is one memory, guarded by the Cache's lock.
type memory struct {
	limit int64 // bytes in all
	share int64 // bytes that replays have for themselves

	blocks  lru
	read    lru   // of replays: readers have come for all of it
	unread  lru   // of replays: read ahead, and a reader shall still come for it
	loading int64 // bytes of replays on their way
	waiting int64 // bytes to read ahead that are not on their way yet
}

// lru holds items in the order of their last use, and counts their bytes.
type lru struct {
	items list.List // of *item, the least recently used last
	bytes int64
}

// item is something in memory. It is in one list, or in none.
type item struct {
	bytes int64
	drop  func() // takes it out of the table it is found by; set before it is put
	in    *lru
	at    *list.Element
}

// put makes it the item of l that was used last.
func (m *memory) put(l *lru, it *item) {
	m.remove(it)
	it.in, it.at = l, l.items.PushFront(it)
	l.bytes += it.bytes
}

func (m *memory) touch(it *item) { it.in.items.MoveToFront(it.at) }

// retire makes it the next item of l to go.
func (m *memory) retire(l *lru, it *item) {
	m.put(l, it)
	l.items.MoveToBack(it.at)
}

func (m *memory) remove(it *item) {
	if it.in == nil {
		return
	}
	it.in.items.Remove(it.at)
	it.in.bytes -= it.bytes
	it.in, it.at = nil, nil
}

// trim drops items until the rest keeps to the limit.
func (m *memory) trim() {
	for m.replays()+m.blocks.bytes > m.limit {
		it := m.victim()
		if it == nil {
			return // loads under way are above the limit: there is nothing else to drop
		}
		m.remove(it)
		it.drop()
	}
}

// replays returns the bytes that replays take.
func (m *memory) replays() int64 { return m.read.bytes + m.unread.bytes + m.loading }

// victim returns the next item to drop: of the replays while they have more than their
// share, else the oldest block. Blocks make no room for loads of replays beyond their
// share, because these are over soon.
func (m *memory) victim() *item {
	order := [...]*lru{&m.blocks, &m.read, &m.unread}
	if m.replays() > m.share {
		order = [...]*lru{&m.read, &m.unread, &m.blocks}
	}
	for _, l := range order {
		e := l.items.Back()
		if e == nil || l == &m.blocks && m.replays() > m.share && m.blocks.bytes <= m.limit-m.share {
			continue
		}
		return e.Value.(*item)
	}
	return nil
}

// aheadRoom returns how many bytes may be read ahead in all. So many push out neither
// blocks beyond the share of replays, nor bytes that were read ahead before.
func (m *memory) aheadRoom() int64 { return max(m.share, m.limit-m.blocks.bytes) }

// loadRoom returns how many bytes of replays may be on their way. With more, regions that
// landed would have to go before their readers come.
func (m *memory) loadRoom() int64 { return max(m.share, m.aheadRoom()/2) }

// fits reports whether n more bytes may be read ahead.
func (m *memory) fits(n int64) bool {
	return m.unread.bytes+m.loading+m.waiting+n <= m.aheadRoom()
}
