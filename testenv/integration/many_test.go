package integration

import (
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// many is how many topics, or groups, one request is about.
const many = 300

// maxObjects limits how many objects such a request may cost: of the metadata,
// of the journal of the topics, and of both again for later steps. It does not
// grow with the number of topics. The clock may split one in two.
const maxObjects = 8

// manyNames are the topics of the test, which are its groups too.
func manyNames() []string {
	names := make([]string, many)
	for i := range names {
		names[i] = fmt.Sprintf("many-%03d", i)
	}
	return names
}

// TestRequestsAboutManyTopicsCommitTogether counts the objects that one request costs.
func TestRequestsAboutManyTopicsCommitTogether(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	c := client(t, node.Kafka)
	admin := kadm.NewClient(c)
	names := manyNames()
	costs := func(request string, do func() error) {
		t.Helper()
		before := storeRequests(t, node)["create"]
		if err := do(); err != nil {
			t.Fatalf("%s: %v", request, err)
		}
		n := storeRequests(t, node)["create"] - before
		t.Logf("%s of %d: %v objects", request, many, n)
		if n > maxObjects {
			t.Errorf("%s of %d costs %v objects, more than %d", request, many, n, maxObjects)
		}
	}
	costs("CreateTopics", func() error {
		made, err := admin.CreateTopics(deadline(t), 2, 1, nil, names...)
		return firstError(err, made.Error)
	})
	costs("CreatePartitions", func() error {
		grown, err := admin.CreatePartitions(deadline(t), 1, names...)
		return firstError(err, grown.Error)
	})
	costs("IncrementalAlterConfigs", func() error {
		_, err := admin.AlterTopicConfigs(deadline(t), []kadm.AlterConfig{{Name: "retention.ms", Value: kadm.StringPtr("86400000")}}, names...)
		return err
	})
	for _, name := range names {
		c.Produce(deadline(t), numbered(name, 0, "m", 1)[0], nil)
	}
	if err := c.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	costs("DeleteRecords", func() error {
		var all kadm.Offsets
		for _, name := range names {
			all.Add(kadm.Offset{Topic: name, Partition: 0, At: 1})
		}
		deleted, err := admin.DeleteRecords(deadline(t), all)
		return firstError(err, deleted.Error)
	})
	commitForMany(t, admin, names)
	costs("OffsetDelete", func() error {
		of := kadm.TopicsSet{}
		for _, name := range names {
			of.Add(name, 0)
		}
		deleted, err := admin.DeleteOffsets(deadline(t), "all", of)
		return firstError(err, deleted.Error)
	})
	costs("DeleteGroups", func() error {
		deleted, err := admin.DeleteGroups(deadline(t), names...)
		return firstError(err, deleted.Error)
	})
	costs("DeleteTopics", func() error {
		deleted, err := admin.DeleteTopics(deadline(t), names...)
		return firstError(err, deleted.Error)
	})
	costs("Metadata", func() error {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = true
		for i := range 100 { // the most that one request may make
			req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: &names[i]})
		}
		_, err := req.RequestWith(deadline(t), c)
		return err
	})
}

func firstError(err error, more func() error) error {
	if err != nil {
		return err
	}
	return more()
}

// commitForMany commits an offset of each topic for a group of its own, and for group
// "all".
func commitForMany(t *testing.T, admin *kadm.Client, names []string) {
	t.Helper()
	var all kadm.Offsets
	var wg sync.WaitGroup
	for _, name := range names {
		o := kadm.Offset{Topic: name, Partition: 0, At: 1, LeaderEpoch: -1}
		all.Add(o)
		var one kadm.Offsets
		one.Add(o)
		wg.Go(func() {
			if err := admin.CommitAllOffsets(deadline(t), name, one); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := admin.CommitAllOffsets(deadline(t), "all", all); err != nil {
		t.Fatal(err)
	}
}
