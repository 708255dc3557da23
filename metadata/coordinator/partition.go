package coordinator

import "unicode/utf16"

// PartitionOf returns the partition, out of a topic's number of them, that holds a
// group or another thing with an id. Clients, tools and Kafka itself use the same
// function.
func PartitionOf(id string, partitions int) int32 {
	h := hash(id)
	if h == -1<<31 {
		h = 0 // its absolute value is not an int32
	}
	return max(h, -h) % int32(partitions)
}

// hash is Java's String.hashCode, over UTF-16 code units.
func hash(s string) (h int32) {
	for _, unit := range utf16.Encode([]rune(s)) {
		h = 31*h + int32(unit)
	}
	return h
}
