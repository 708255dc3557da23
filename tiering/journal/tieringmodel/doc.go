// Package tieringmodel checks by trying everything how a journal is tidied up:
// merge, retention, compaction, release and deletion. It follows
// ../PROTOCOL.md from rule 16 on; every rule that it has can be switched off, to
// see its purpose.
//
// It owns three models, not the code: tiering and this package share nothing
// but the page. It promises that a violation comes with a shortest trace.
// Exhausted means that every state within the bounds was seen. States are
// compared by hashes of 128 bits. It never says anything beyond its bounds.
//
// All three take the journal as the rules before promise it (package model, next
// to this one). It is one sequence of committed objects, with a current leader
// that has a window of objects under way, and fences. Nothing of a deposed leader
// is committed behind the next fence.
//
// Segments is the model of merged segments. It has two partitions, A and B, and
// every object of records holds one record of each. An index of its log stands
// for a journal key. PUTs of merged segments land at any time, also after their
// sender's death, and are sent again. Any leadership, living or dead, may delete
// an object at any time after it has applied the entry that lists it. So all late
// DELETEs are in it. Nothing waits for a grace.
// One function applies entries, live and on replay: every actor's state is that
// of a prefix of the log. In each state a fresh reader at the head reads every
// record at or above the start, from the right bytes. Replay meets no
// contradiction. Starts never go back. Everything in the bucket, or that may
// still land there, is named by an extent, listed, or known to the state.
// No object that an extent names is deleted, no fence, and none that a start
// from one of the last two floors reads. From every state, or from some, a new
// leadership tidies up without disturbance: neither debt nor garbage may be left.
//
// Pages is the model of index pages, checkpoints that rot, and floors. Compacting is
// the model of log compaction: one partition, values and tombstones of one key,
// readers that are slow, and a coordinator with a snapshot.
//
// The models lack clocks, transactions, the bytes of records, and the races that
// package model has.
package tieringmodel
