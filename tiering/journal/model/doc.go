// Package model checks the journal protocol by trying everything: all orders in
// which leaders, the store, garbage collection and a reader can take their
// steps, within small bounds. It follows ../PROTOCOL.md, whose rule numbers are
// cited throughout; every rule can be switched off, to see its purpose.
//
// It owns a model, not the code: package journal and this package share nothing
// but the page. It promises that a violation comes with a shortest trace.
// Exhausted means that every state within the bounds was seen: states are
// compared whole, never by a hash. It never says anything beyond its bounds.
//
// The model has these parts. The store creates atomically, and answers a PUT at
// once or never. In the latter case the sender times out and reads the key
// back, as a step of its own. The store delivers a PUT as late as it likes,
// also after its sender has died. Leaders fence, settle with fillers sent
// together, and pipeline data within the window; they restart without memory, or give up
// and read on where they are.
// Garbage collection publishes floors and deletes every object that it may, at
// any moment. A DELETE may come late and hit the object that is at the key by
// then. Readers go seq by seq and read the floor again where rule 8 says so.
//
// The model is simplified in these ways, which lose nothing. A checkpoint is
// the truth about the objects below its floor. The PUT of a floor is one step:
// its key is never deleted and its value stays allowed, so a late one does not
// differ from one made late. A floor read takes effect when it finds floors/n+1
// absent. It has several steps where its beginning matters, and is one step
// where a process starts. An object has no `confirmed` value. Instead, every
// state is checked: each seq that any process has confirmed is in the bucket or
// below the floor. So no such value can make a reader call a healthy journal
// broken. Seq 0 stands for the fence of epoch 1 with its fillers. Each
// acknowledgement is compared with the first object stored at its seq, so two
// different ones for a seq cannot both pass.
//
// The model lacks local write-ahead segments, wrong checkpoints, and stores
// that break their promises.
package model
