package metadata

import "testing"

func TestReportsOnlyGrowAndWakeWatchers(t *testing.T) {
	r := NewReports()
	wake := make(chan struct{}, 1)
	cancel := r.Watch(wake)
	woken := func() bool {
		select {
		case <-wake:
			return true
		default:
			return false
		}
	}
	if seq, led := r.Reconciled(1); seq != 0 || led || woken() {
		t.Error("something is known of a journal without a report")
	}
	r.Leads(1, true)
	r.Report(1, 5)
	if seq, led := r.Reconciled(1); seq != 5 || !led || !woken() {
		t.Errorf("at seq %d, led %v, or nothing woke the watcher", seq, led)
	}
	r.Report(1, 3) // of a leader that was deposed
	if seq, _ := r.Reconciled(1); seq != 5 || woken() {
		t.Errorf("at seq %d after an older report, or it woke the watcher", seq)
	}
	r.Leads(1, false)
	if seq, led := r.Reconciled(1); seq != 5 || led || !woken() {
		t.Errorf("without a leader: seq %d, led %v", seq, led)
	}
	cancel()
	if r.Report(2, 1); woken() {
		t.Error("woken after cancel")
	}
}
