// Package wal is the local write-ahead log of one data journal's leader: records
// on a local disk, in the order they were appended, until the bucket holds them.
//
// It owns one folder per journal, in it one folder per incarnation (start of a
// process), in that preallocated files of records. It promises that a log
// sequence number is reported synced only after fdatasync returned, that every
// synced record is read back by a later Scan or missed with a *DamageError, and
// that nothing is read back that was not appended: neither what an earlier use
// of a recycled file left behind nor a record with a flipped bit.
//
// It never retries a failed write or fsync (the pages are clean by then, so a
// second fsync would lie), never takes an I/O error for the end of the log,
// never deletes records that were not released or removed by its owner, and
// does not know what a record means.
//
// What is assumed of the disk: fdatasync is honest, a 512-byte sector is written
// whole or not at all, a rename is atomic. Writes that were not synced may be
// lost in any subset and order.
package wal
