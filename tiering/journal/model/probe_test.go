package model

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

var (
	pw   = flag.Int("w", 0, "")
	pl   = flag.Int("l", 2, "")
	ps   = flag.Int("s", 6, "")
	pwin = flag.Int("win", 2, "")
	po   = flag.String("o", "2,2", "")
	pr   = flag.Int("r", 1, "")
	pre  = flag.Int("re", 0, "")
	pf   = flag.Int("f", 2, "")
	pfl  = flag.Int("fl", 4, "")
	prd  = flag.Bool("rd", false, "")
	psl  = flag.Bool("slow", false, "")
	pm   = flag.Int("m", 12000000, "")
)

func TestProbe(t *testing.T) {
	c := Config{Leaders: *pl, Seqs: *ps, Window: *pwin, Resends: *pr, Restarts: *pre, Floors: *pf, Flight: *pfl, Reader: *prd, SlowRead: *psl, MaxStates: *pm}
	for _, x := range strings.Split(*po, ",") {
		var k int
		fmt.Sscan(x, &k)
		c.Objects = append(c.Objects, k)
	}
	try := func(name string, w Rules) {
		c.Without = w
		t0 := time.Now()
		r, err := Check(c)
		if err != nil {
			t.Fatal(err)
		}
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		fmt.Printf("== %s: %d states exhausted=%v %v %dMB steps=%d %s\n", name, r.States, r.Exhausted, time.Since(t0).Round(time.Millisecond), ms.Sys>>20, len(r.Trace), r.Violation)
		if r.Violation != "" && testing.Verbose() {
			for i, x := range r.Trace {
				fmt.Println("   ", i+1, x)
			}
		}
	}
	if *pw >= 0 {
		try("all", 0)
	}
	if *pw == 1 || *pw == -1 {
		for i := range ruleNames {
			try(ruleNames[i], 1<<i)
		}
	}
	if *pw > 1 {
		try(ruleNames[*pw-2], 1<<(*pw-2))
	}
}
