package node

import "github.com/varvelog/varve/cmd/internal/kafka/listener"

// ownFiles is how many file descriptors are reserved for other uses than Kafka
// clients: other nodes, HTTP, the bucket, announcements and write-ahead logs.
const ownFiles = 256 + maxHTTPConns + listener.Reserve

// fitConnections lowers the number of client connections to the rest of the
// limit of open files. Connections beyond it would take the descriptors that
// the write-ahead log and the bucket need.
func (n *node) fitConnections(open uint64, known bool) {
	most := max(int64(open)-ownFiles, int64(open)/2)
	if !known || int64(open) < 0 || int64(n.cfg.MaxConnections) <= most {
		return
	}
	n.log.Warn("fewer client connections than --max-connections are accepted, because this process may not have so many files open; "+
		"raise the limit (LimitNOFILE= of the systemd unit, ulimit -n of a shell) or lower --max-connections",
		"open_files", open, "max_connections", n.cfg.MaxConnections, "taken", most)
	n.cfg.MaxConnections = int(most)
	n.cfg.MaxConnectionsPerAddress = min(n.cfg.MaxConnectionsPerAddress, (int(most)+1)/2)
}
