package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// DescribeLogDirs, key 35 (KIP-113).
//
//	v2  flexible
//	v3  top-level error code
//	v4  total and usable bytes (KIP-827): those of a bucket are not known
//
// There is one directory: the bucket. The size of a partition is that of its
// record batches, with those whose records are deleted, because the bucket
// still has them. Partitions that this node does not know are left out, as in
// Kafka.
func init() {
	register(listener.API{
		Key: kmsg.DescribeLogDirs, Min: 1, Max: 4, Bulky: true,
		Shape: shape{listOf(sizeOf[kmsg.DescribeLogDirsRequestTopic](), str(), ints())},
	}, func(s *services) listener.Handler { return s.clusters.beginDescribeLogDirs })
}

func (s *clusterService) beginDescribeLogDirs(_ context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.DescribeLogDirsRequest)
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	if err := s.gate.cluster(r.Client, toDescribe); err != nil {
		resp.ErrorCode = s.codeFor(err, onAdmin, "DescribeLogDirs")
		r.Reply(resp, resp.ErrorCode)
		return
	}
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir = s.store
	dir.TotalBytes, dir.UsableBytes = -1, -1
	if req.Topics == nil {
		for _, t := range s.gate.clusterTopics(r.Client, toDescribe) {
			s.addSizes(&dir, t, allPartitions(t))
		}
	}
	for _, in := range distinct(req.Topics, func(t kmsg.DescribeLogDirsRequestTopic) any { return t.Topic }) {
		if t, err := s.gate.clusterTopic(r.Client, toDescribe, in.Topic); err == nil {
			s.addSizes(&dir, t, distinct(in.Partitions, func(p int32) any { return p }))
		}
	}
	resp.Dirs = append(resp.Dirs, dir)
	r.Reply(resp, 0)
}

func allPartitions(t *metadata.Topic) []int32 {
	all := make([]int32, len(t.Partitions))
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// addSizes adds the partitions of a topic whose sizes are known.
func (s *clusterService) addSizes(dir *kmsg.DescribeLogDirsResponseDir, t *metadata.Topic, partitions []int32) {
	out := kmsg.NewDescribeLogDirsResponseDirTopic()
	out.Topic = t.Name
	for _, i := range partitions {
		if hasPartition(t, i) != nil {
			continue
		}
		if size, ok := s.size(t, i); ok {
			p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			p.Partition, p.Size = i, size
			out.Partitions = append(out.Partitions, p)
		}
	}
	if len(out.Partitions) > 0 {
		dir.Topics = append(dir.Topics, out)
	}
}
