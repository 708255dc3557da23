package upkeep

import (
	"testing"
	"time"
)

func TestAPacerLetsAsManyBytesPassAsItsRate(t *testing.T) {
	b := newBench(t, time.Hour)
	rate := int64(1000)
	p := NewPacer(b, func() int64 { return rate })
	wait := func(bytes int64, want time.Duration) {
		t.Helper()
		if err := p.Wait(t.Context(), bytes); err != nil || b.now.Sub(began) != want {
			t.Errorf("after %d bytes at %v (%v), want %v", bytes, b.now.Sub(began), err, want)
		}
	}
	wait(6000, 0) // the first ones pass at once, and the next ones wait for them
	wait(1000, 6*time.Second-saved)
	wait(1000, 7*time.Second-saved)
	b.now = b.now.Add(time.Minute) // a pause saves no more up
	wait(2000, 67*time.Second-saved)
	wait(1, 69*time.Second-2*saved)
	rate = 0
	wait(1e9, 69*time.Second-2*saved)
}

func TestAFlowIsTheRateOfTheLastSeconds(t *testing.T) {
	b := newBench(t, time.Hour)
	f := NewFlow(b)
	for range 100 {
		f.Add(500)
		b.now = b.now.Add(100 * time.Millisecond)
	}
	if r := f.Rate(); r < 4900 || r > 5100 || f.Total() != 50_000 {
		t.Errorf("%d bytes a second, %d in all, want 5000 and 50000", r, f.Total())
	}
	b.now = b.now.Add(time.Minute)
	if f.Rate(); f.Rate() > 100 {
		t.Errorf("%d bytes a second after a minute without any", f.Rate())
	}
}
