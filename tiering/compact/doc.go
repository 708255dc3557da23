// Package compact keeps, of each key of a partition, the last record: log compaction.
//
// It owns the decision whether a partition is due (Plan), the map from keys to the offsets
// of their last records (Map), and the decision whether a record stays (Pass). It promises:
//
//   - Offsets never change. A record goes if a later one with its key stands in the part of
//     the log that the pass has read. A tombstone also goes when an earlier pass has seen
//     it and its time is over. Every other record stays.
//   - A record without a key stays, and so does a batch that cannot be decoded.
//   - The last batch of the partition stays as it is, and does not count as clean.
//
// A pass reads the log from the offset up to which it is clean, and applies its map to
// everything below the end of that part. It may end between any two of its jobs: the
// extents that are rewritten until then are right on their own, and the next pass begins
// again. Only a pass that is complete, and could decode every batch, moves the clean
// offset (tiering/journal/PROTOCOL.md, rule 28).
//
// The package reads no clock and no store. tiering/upkeep runs its jobs.
package compact
