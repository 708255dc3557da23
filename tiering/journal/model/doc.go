// Package model checks the journal protocol by trying everything: all orders in
// which leaders, the store, garbage collection and a reader can take their steps,
// within small bounds. It follows ../PROTOCOL.md, whose rule numbers are cited
// throughout; every rule can be switched off, to see what it is for.
//
// It owns a model, not the code: package journal and this package share nothing
// but the page. It promises that a violation comes with a shortest trace, and
// that Exhausted means that every state within the bounds was seen: states are
// compared whole, never by a hash. It never says anything beyond its bounds.
//
// What is in it. The store creates atomically, answers a PUT at once or never
// (the sender then times out and reads the key back, as a step of its own), and
// delivers a PUT as late as it likes, also after its sender has died. Leaders
// fence, settle with fillers sent together, and pipeline data within the window;
// they restart without memory. Garbage collection publishes floors and deletes
// whatever it may at any moment, and a DELETE may come late and hit what lies at
// the key by then. Readers go seq by seq and read the floor again where rule 8
// says so.
//
// What is simplified, and why that loses nothing. A checkpoint is the truth about
// the objects below its floor. The PUT of a floor is one step: its key is never
// deleted and its value stays allowed, so a late one differs in nothing from one
// made late. A floor read takes effect when it finds floors/n+1 absent; it is in
// steps where its beginning matters, and one step where a process starts. An
// object has no `confirmed` value; instead it is checked in every state that
// whatever any process has confirmed is in the bucket or below the floor, so no
// such value can make a reader call a healthy journal broken. Seq 0 stands for
// the fence of epoch 1 with its fillers. Each acknowledgement is compared with
// what was stored first at its seq, so two different ones for a seq cannot both
// pass.
//
// What is not in it: local write-ahead segments, checkpoints that are wrong, and
// stores that break their word.
package model
