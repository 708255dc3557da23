// Package wal is the local write-ahead log of one data journal's leader: records
// on a local disk, in the order they were appended, until the bucket holds them.
//
// It owns one folder per journal, in it one folder per incarnation (start of a
// process), in that preallocated files of records. It promises:
//   - a log sequence number is reported as synced only after fdatasync
//     returned;
//   - a later Scan reads every synced record, or misses it with a *DamageError;
//   - it reads no record that was not appended: neither bytes left from an
//     earlier use of a recycled file, nor a record with a flipped bit.
//
// It never retries a failed write or fsync: the pages are clean by then, so a
// second fsync would lie. It never takes an I/O error for the end of the log,
// and never deletes records that its owner has not released or removed. It does
// not know the meaning of a record.
//
// It assumes of the disk that fdatasync is honest, that a 512-byte sector is
// written whole or not at all, and that a rename is atomic. Writes that were
// not synced may be lost in any subset and order.
package wal
