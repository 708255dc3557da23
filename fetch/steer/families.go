package steer

import (
	"slices"
	"strconv"
	"strings"
)

// family is a client library of which some versions may be sent to a fetch node. When that node
// dies, such a client is back at a living one within 15 s. The versions were measured.
type family struct {
	software string // its name in ApiVersions (KIP-511)
	from     version
	why      string
}

// families is the table. A client that is not in it is served by the leader, always. Java 3.9
// went on 0.4 s after the node was killed. Of others franz-go 1.22 keeps a dead node for its
// lease of 30 minutes, librdkafka 2.0 for five, and sarama and kafkajs until their metadata
// expires. Later versions of librdkafka return, and are to be tried with varve first.
var families = []family{
	{"apache-kafka-java", version{3, 9}, "forgets its preferred node with the connection (KAFKA-14379, KAFKA-14380)"},
}

// version is the beginning of a version.
type version [2]int

func (v version) before(w version) bool { return v[0] < w[0] || v[0] == w[0] && v[1] < w[1] }

// parseVersion reads "3.9.0", "2.15.0-RC1" and the like.
func parseVersion(text string) (v version, ok bool) {
	major, rest, ok := strings.Cut(text, ".")
	if !ok {
		return v, false
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	var errs [2]error
	v[0], errs[0] = strconv.Atoi(major)
	v[1], errs[1] = strconv.Atoi(rest[:end])
	return v, errs[0] == nil && errs[1] == nil && v[0] >= 0
}

// Returns reports whether a client comes back from a node that has died, by the name and
// version of its software.
func Returns(software, text string) bool {
	v, ok := parseVersion(text)
	return ok && slices.ContainsFunc(families, func(f family) bool { return f.software == software && !v.before(f.from) })
}
