package objstore

// Effort is how hard a Probe looks.
type Effort int

// The efforts.
const (
	// Quick makes 366 objects, or tries to. It is for the first start.
	//
	// A store that lets half of the second creates pass gets 48 of them one after the
	// other: it is missed with a chance of 2^-48. If it does so for half of the keys, 24
	// of them miss it with 2^-24, or 6e-8. The losers of races are second creates, too:
	// with 304 in all, a store that lets 1 of 20 pass is missed with 0.95^304, or 2e-7.
	//
	// A store that looks for the object, waits and then writes has two winners if a second
	// writer of a race looks before the first one has written. Let the requests of W
	// writers arrive at any time within S ms, and the store wait for 1 ms. One race misses
	// it with (1-1/S)^W, and R races with (1-1/S)^(W*R). Here W*R is 256: for S up to 18
	// that is below 5e-7. Few races are under way at once: others spread the arrivals.
	Quick Effort = iota
	// Thorough makes 1,775 objects, or tries to. By the same sums it finds a store that
	// lets 1 of 100 second creates pass, and one that waits for 1 ms if S is up to 110.
	Thorough
	// once is that of CreateTwice.
	once
)

// probeSize is the number of keys of each kind of test.
type probeSize struct {
	twice     int // created again
	seconds   int // second creates of each of these
	races     int // created by many writers at once
	writers   int // of each of these
	racing    int // races at once
	recreated int // deleted and created again
	parallel  int // tests of a step under way at once
}

var probeSizes = [...]probeSize{
	Quick:    {twice: 24, seconds: 2, races: 16, writers: 16, racing: 2, recreated: 4, parallel: 24},
	Thorough: {twice: 50, seconds: 1, races: 50, writers: 32, racing: 8, recreated: 5, parallel: 8},
	once:     {twice: 1, seconds: 1, parallel: 1},
}

// maxWriters is above the number of any writer of a key.
const maxWriters = 33
