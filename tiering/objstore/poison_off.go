//go:build !poison

package objstore

// checkSums is false: the store compares the CRC with the bytes that arrived.
const checkSums = false
