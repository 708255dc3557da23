package partlog

// deadline says that expiries of times up to ms pass a producer by.
type deadline struct{ ms, id int64 }

// deadlines is a heap, the earliest first. A deadline is moved when it has come, not
// with each batch of its producer.
type deadlines []deadline

func (d *deadlines) push(x deadline) {
	*d = append(*d, x)
	h, i := *d, len(*d)-1
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].ms <= x.ms {
			break
		}
		h[i], i = h[parent], parent
	}
	h[i] = x
}

// postpone moves the earliest deadline to a later time.
func (d deadlines) postpone(ms int64) { d.place(deadline{ms, d[0].id}) }

// pop removes the earliest deadline.
func (d *deadlines) pop() {
	last := len(*d) - 1
	x := (*d)[last]
	if *d = (*d)[:last]; last > 0 {
		d.place(x)
	}
}

// place puts x at the top, and brings it down to its place.
func (d deadlines) place(x deadline) {
	i := 0
	for {
		child := 2*i + 1
		if child >= len(d) {
			break
		}
		if child+1 < len(d) && d[child+1].ms < d[child].ms {
			child++
		}
		if x.ms <= d[child].ms {
			break
		}
		d[i], i = d[child], child
	}
	d[i] = x
}
