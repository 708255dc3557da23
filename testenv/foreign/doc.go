// Package foreign reads varve's buckets as a program would that knows nothing of
// varve but tiering/segment/FORMAT.md.
//
// It owns reader.py and the modules beside it: Python 3 with its standard library,
// written from that page alone. The tests here promise that the page is complete: what
// the reader finds in a bucket is what a node says, with and without checkpoints.
// When the page changes, change the reader after it, and never look into Go code for
// what the page does not say: mend the page. No code of varve is called by the reader,
// and none of the product calls it.
package foreign
