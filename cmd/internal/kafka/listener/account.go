package listener

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// account is the memory of the budget that one connection holds.
type account struct {
	budget *budget
	cut    func(error)            // ends the connection; does not block
	client atomic.Pointer[Client] // by its latest request
	came   atomic.Int64           // bytes of the frame being read
	sent   atomic.Int64           // bytes of the answer being written
	known  bool                   // set by the reader: it has read a frame as large before

	// Guarded by the budget's lock.
	held    [parts]int64
	since   time.Time // since then it holds some without a break
	reading bool      // it reads a frame, and does not wait for memory
	behind  time.Time // when the frame being read first waited for memory; zero if it did not
	mark    mark
	sending int64 // bytes of the answer being written, 0 while there is none
	sendAt  mark
	endPoll func() // ends the wait of a long poll; nil while there is none
}

// mark is how much of a frame had arrived at a time.
type mark struct {
	at   time.Time
	came int64
}

func (b *budget) open(client *Client, cut func(error)) *account {
	a := &account{budget: b, cut: cut}
	a.client.Store(client)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accounts[a] = struct{}{}
	return a
}

func (a *account) close() {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	delete(a.budget.accounts, a)
}

// hold adds n bytes to those held; n may be negative. The caller has the
// budget's lock.
func (a *account) hold(p part, n int64) {
	a.held[p] += n
	if a.held != [parts]int64{} && a.since.IsZero() {
		a.since = time.Now()
	} else if a.held == [parts]int64{} {
		a.since = time.Time{}
	}
}

// begin notes that a frame takes memory as it arrives from now on.
func (a *account) begin() {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.behind = time.Time{}
	a.goOn()
}

// goOn is begin with the budget's lock held, and after a wait. The arrival rate
// of the frame is measured from here.
func (a *account) goOn() { a.reading, a.mark = true, mark{at: time.Now(), came: a.came.Load()} }

// complete notes that the frame with memory of p is complete.
func (a *account) complete(p part) {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.reading = false
	a.budget.parts[p].moved = time.Now()
}

// sends notes that an answer of n bytes is being written, or with 0 that none
// is.
func (a *account) sends(n int64) {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.sent.Store(0)
	a.sending, a.sendAt = n, mark{at: time.Now()}
}

// polls notes that a request waits for records, and the function that ends the
// wait; nil if it waits no more.
func (a *account) polls(end func()) {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.endPoll = end
}

const (
	// reliefEvery is the time between two searches for memory to free, while
	// requests wait for it.
	reliefEvery = 250 * time.Millisecond
	// While requests wait long for memory, a frame must arrive at least at the
	// rate at which its bytes so far would come within slowest. It must not be
	// slower than the lowest allowed rate either. The rate is measured over
	// fairStart or longer.
	slowest = 16 * time.Second
	// The same rule holds for an answer, and the rate at which its client takes
	// it.
	fairStart = time.Second
	// sendLook is the time between two checks of how much of an answer was
	// taken.
	sendLook = time.Second / 2
	// stuckAfter is how long a request waits for memory until slow frames are
	// cut, and how long no frame is complete until waiting ones are cut as
	// well.
	stuckAfter = 2 * time.Second
	// reportEvery is the time between two reports of one shortage.
	reportEvery = 10 * time.Second
	// maxReported is how many connections a report names.
	maxReported = 3
)

// shortage is a report that requests wait for memory, with the holders of it.
type shortage struct {
	part    part
	size    int64
	waiting int
	holders []holder // those that hold most first
}

// holder is a connection that holds memory.
type holder struct {
	client *Client
	bytes  int64
	since  time.Time
	state  string // its present work
}

// relieve is called while requests wait for memory of a part. It ends long
// polls, which lose nothing by that. If one has waited for long, it cuts
// connections whose frames arrive too slowly for the memory they hold, until
// there is enough. It begins with those that hold most. After a short wait it
// cuts none: the cause may be busy clients, and not a slow line.
func (b *budget) relieve(p part) {
	b.mu.Lock()
	pool, now := &b.parts[p], time.Now()
	if len(pool.waiting) == 0 || now.Sub(pool.relieved) < reliefEvery {
		b.mu.Unlock()
		return
	}
	pool.relieved = now
	holders := b.holders(p)
	report := b.shortage(p, holders, now)
	b.grant(p) // frames that were held back for a turn
	missing := pool.missing()
	for _, a := range holders {
		if missing > 0 && a.endPoll != nil {
			a.endPoll()
			missing -= a.held[p]
		}
	}
	long := slices.ContainsFunc(pool.waiting, func(w *waiter) bool { return now.Sub(w.since) > stuckAfter })
	for _, a := range holders {
		if err := a.tooSlow(p, now); long && missing > 0 && err != nil {
			a.cut(err)
			missing -= a.held[p]
		}
	}
	if p == answers {
		b.cutSenders(holders, missing, now)
	}
	if now.Sub(pool.moved) > stuckAfter {
		pool.cutConvoy(holders, p, missing)
	}
	b.mu.Unlock()
	if report != nil && b.onShort != nil {
		b.onShort(*report)
	}
}

// relieveSenders is called while records to be sent wait for memory of other
// answers. It cuts connections whose clients take theirs too slowly, the
// largest first, until missing bytes are free.
func (b *budget) relieveSenders(missing int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Sub(b.senders) < reliefEvery {
		return
	}
	b.senders = now
	var sending []*account
	for a := range b.accounts {
		if a.sending > 0 {
			sending = append(sending, a)
		}
	}
	slices.SortFunc(sending, func(x, y *account) int { return cmp.Compare(y.sending, x.sending) })
	b.cutSenders(sending, missing, now)
}

func (b *budget) cutSenders(of []*account, missing int64, now time.Time) {
	for _, a := range of {
		if err := a.takesSlowly(now); missing > 0 && err != nil {
			a.cut(err)
			missing -= a.sending
		}
	}
}

// takesSlowly returns why the connection is to be cut, nil if it is not.
func (a *account) takesSlowly(now time.Time) error {
	if a.sending == 0 {
		return nil
	}
	all := a.sent.Load()
	took, sent := now.Sub(a.sendAt.at), all-a.sendAt.came
	if took < fairStart {
		return nil
	}
	if float64(sent) < max(float64(a.sending)/slowest.Seconds(), float64(a.budget.minRate))*took.Seconds() {
		return fmt.Errorf("%w: of %d bytes, %d were taken in the last %v while other answers waited",
			errTakesSlowly, a.sending, sent, took.Round(time.Millisecond))
	}
	a.sendAt = mark{at: now, came: all}
	return nil
}

// cutConvoy cuts connections that hold much and wait for more, so that the
// others can go on. Otherwise only one at a time would go on, while frames that
// do not arrive take turns. It leaves connections alone that have delivered
// such a frame before.
func (p *pool) cutConvoy(holders []*account, of part, missing int64) {
	waits := make(map[*account]*waiter, len(p.waiting))
	for _, w := range p.waiting {
		if w.reading && !w.known {
			waits[w.account] = w
		}
	}
	for _, a := range holders {
		if w := waits[a]; w != nil && missing > 0 {
			a.cut(fmt.Errorf("%w: %d bytes held and %d waited for while no request was complete", errHoldsMemory, a.held[of], w.need))
			missing -= a.held[of] + w.need
		}
	}
}

// missing returns how many bytes have to become free for all waiting requests.
func (p *pool) missing() (n int64) {
	for _, w := range p.waiting {
		n += w.need
	}
	return n - p.free
}

// holders returns the accounts that hold memory of a part, those that hold most
// first.
func (b *budget) holders(p part) []*account {
	var out []*account
	for a := range b.accounts {
		if a.held[p] > 0 {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(x, y *account) int {
		return cmp.Or(cmp.Compare(y.held[p], x.held[p]), x.since.Compare(y.since))
	})
	return out
}

// tooSlow returns why the connection is to be cut, nil if it is not. A frame
// that waits for memory itself is not too slow.
func (a *account) tooSlow(p part, now time.Time) error {
	if !a.reading || a.held[p] == 0 {
		return nil
	}
	all := a.came.Load()
	took, came := now.Sub(a.mark.at), all-a.mark.came
	if took < fairStart {
		return nil
	}
	rate := max(float64(all)/slowest.Seconds(), float64(a.budget.minRate))
	if float64(came) < rate*took.Seconds() {
		return fmt.Errorf("%w: %d bytes held for %v, %d arrived in the last %v while other requests waited",
			errHoldsMemory, a.held[p], now.Sub(a.since).Round(time.Millisecond), came, took.Round(time.Millisecond))
	}
	a.mark = mark{at: now, came: all}
	return nil
}

// shortage returns a report of the holders of a part, unless one was made a
// short time ago.
func (b *budget) shortage(p part, holders []*account, now time.Time) *shortage {
	pool := &b.parts[p]
	if now.Sub(pool.reported) < reportEvery {
		return nil
	}
	pool.reported = now
	s := &shortage{part: p, size: pool.size, waiting: len(pool.waiting)}
	for _, a := range holders[:min(len(holders), maxReported)] {
		s.holders = append(s.holders, holder{client: a.client.Load(), bytes: a.held[p], since: a.since, state: a.doing()})
	}
	return s
}

func (a *account) doing() string {
	switch {
	case a.reading:
		return "sending a request"
	case a.endPoll != nil:
		return "waiting for records"
	}
	return "waiting for an answer"
}

// PartUse is how much of a part of the memory for requests is taken.
type PartUse struct {
	Part        string
	Size, Taken int64 // bytes
	Waiting     int   // requests
}

// Memory returns how much of the memory for requests is taken.
func (s *Server) Memory() []PartUse {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]PartUse, parts)
	for p := range b.parts {
		pool := &b.parts[p]
		out[p] = PartUse{Part: partNames[p], Size: pool.size, Taken: pool.size - pool.free, Waiting: len(pool.waiting)}
	}
	return out
}
