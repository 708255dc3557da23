// Package foreign reads varve's buckets as a program would that knows nothing
// of varve but tiering/segment/FORMAT.md.
//
// It owns reader.py and the modules next to it: Python 3 with its standard
// library, written from that page alone. The tests here promise that the page
// is complete: the reader finds the same in a bucket as a node reports, with
// and without checkpoints. When the page changes, change the reader after it.
// If the page lacks something, mend the page, and never look it up in Go code.
// The reader calls no code of varve, and the product does not call the reader.
package foreign
