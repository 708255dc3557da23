// Package merge makes few large objects of a journal's many small ones, which readers then
// read in place of them.
//
// It owns the decision which extents are merged, the work of a job, and the folder on disk
// in which a job gathers records. A job gathers and checks its sources, commits an intent,
// and uploads each output. Then it reads them back by a decoder that the writer does not
// use, and commits results (tiering/journal/PROTOCOL.md, rules 16 to 19). It promises:
//
//   - No result is committed unless each partition's records, as they were read back, equal
//     those of its sources.
//   - An object id is one byte string. An output that is made again gets a new id.
//   - A job takes bounded memory and disk, whatever the number of partitions and records.
//   - A source that cannot be read holds up its partition for a while, and no other one.
//     Then the result names it as it is, and merging goes on behind it (rule 31).
//
// It never deletes an object, and never releases one.
package merge
