package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/testenv/history"
)

// passingTopic is created, written to, read, deleted and created again. Of half of its lives
// the deletion is revoked, once.
const passingTopic = "passing"

// restoreConfig is the config of a new topic that brings a deleted one back.
const restoreConfig = "varve.undelete"

const (
	passingRecords = 100
	passingTurn    = 10 * time.Millisecond // between two records
	passingLimit   = time.Minute           // until a record is given up
)

// passing is the life of one topic after another.
type passing struct {
	history *history.History
	nodes   []string // addresses
	strict  bool     // the first one never serves an earlier life
	random  *rand.Rand
	lives   int
	id      kadm.TopicID     // of the present life
	values  map[int64]string // of the present life, acknowledged, by offset
	deleted atomic.Int64
	revoked int
	purged  int // deletions that could not be revoked any more
}

// run goes on until ctx ends. The records of then are read before it returns, unless hard ends.
func (p *passing) run(ctx, hard context.Context) error {
	client, err := newClient(p.nodes[0])
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for ctx.Err() == nil {
		p.lives++
		if !p.create(ctx, admin, nil) {
			return nil
		}
		if err := p.write(ctx); err != nil {
			return err
		}
		if err := p.read(hard); err != nil {
			return err
		}
		tries, deleted := p.delete(ctx, client)
		if !deleted {
			return nil
		}
		if p.random.IntN(2) > 0 || tries > 1 { // a try that was given up may yet delete the topic that is back
			continue
		}
		sleep(ctx, time.Duration(p.random.Int64N(int64(1500*time.Millisecond)))) // about the grace
		if p.create(ctx, admin, map[string]*string{restoreConfig: kmsg.StringPtr(base64.RawURLEncoding.EncodeToString(p.id[:]))}) {
			if err := p.read(hard); err != nil {
				return err
			}
			p.delete(ctx, client)
		}
	}
	return nil
}

// try asks until there is an answer, and returns its error; nil if ctx ends. An unknown topic is
// an answer, though clients may ask again after it.
func try(ctx context.Context, ask func(context.Context) error) error {
	for ; ctx.Err() == nil; sleep(ctx, 100*time.Millisecond) {
		turn, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := ask(turn)
		cancel()
		var answer *kerr.Error
		if err == nil || errors.As(err, &answer) && (!answer.Retriable || answer == kerr.UnknownTopicOrPartition || answer == kerr.UnknownTopicID) {
			return err
		}
	}
	return nil
}

// create reports whether the topic is there. An earlier try may have made it, as no other
// client does.
func (p *passing) create(ctx context.Context, admin *kadm.Client, configs map[string]*string) bool {
	count := int32(1)
	if configs != nil {
		count = -1
	}
	err := try(ctx, func(ctx context.Context) error {
		made, err := admin.CreateTopic(ctx, count, -1, configs, passingTopic)
		if err == nil {
			p.id = made.ID
		}
		return err
	})
	switch {
	case ctx.Err() != nil:
		return false
	case err == nil, errors.Is(err, kerr.TopicAlreadyExists):
		if configs != nil {
			p.revoked++
		}
		return err == nil || p.look(ctx, admin)
	case configs != nil && (errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)):
		return p.restored(ctx, admin) // with an id, an earlier life may not be purged yet
	}
	p.history.Note(history.Refused, "life %d of %s is not created: %v", p.lives, passingTopic, err)
	return false
}

// look finds the id of the topic, which an earlier try has made.
func (p *passing) look(ctx context.Context, admin *kadm.Client) bool {
	p.id = kadm.TopicID{}
	for ; p.id == (kadm.TopicID{}) && ctx.Err() == nil; sleep(ctx, 100*time.Millisecond) {
		_ = try(ctx, func(ctx context.Context) error { // without an answer it is asked for again
			topics, err := admin.ListTopics(ctx, passingTopic)
			p.id = topics[passingTopic].ID
			return err
		})
	}
	return ctx.Err() == nil
}

// restored reports whether the topic is there though no deleted one is: the answer to an
// earlier try was lost. If not, the topic is purged. The controller is asked, as other nodes
// may not know yet that the topic was deleted.
func (p *passing) restored(ctx context.Context, admin *kadm.Client) bool {
	err := try(ctx, func(ctx context.Context) error {
		checked, err := admin.ValidateCreateTopics(ctx, 1, -1, nil, passingTopic)
		if err != nil {
			return err
		}
		return checked[passingTopic].Err
	})
	is := errors.Is(err, kerr.TopicAlreadyExists)
	switch {
	case ctx.Err() != nil:
		return false
	case is:
		p.revoked++
	default:
		p.purged++
	}
	return is
}

// delete deletes the topic by its id: a request that was given up, and is carried out later, must
// not delete the next life. It returns how often it asked.
func (p *passing) delete(ctx context.Context, client *kgo.Client) (tries int, deleted bool) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = int32(passingLimit.Milliseconds())
	one := kmsg.NewDeleteTopicsRequestTopic()
	one.TopicID = p.id
	req.Topics = append(req.Topics, one)
	err := try(ctx, func(ctx context.Context) error {
		tries++
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	})
	if ctx.Err() != nil {
		return tries, false
	}
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.UnknownTopicID) { // an earlier try may have deleted it
		p.history.Note(history.Refused, "life %d of %s is not deleted: %v", p.lives, passingTopic, err)
		return tries, false
	}
	p.deleted.Add(1)
	return tries, true
}

// write writes the records of this life. Those of unknown outcome are not expected to be read.
func (p *passing) write(ctx context.Context) error {
	client, err := newClient(p.nodes[0], kgo.RecordDeliveryTimeout(passingLimit))
	if err != nil {
		return err
	}
	defer client.Close()
	p.values = map[int64]string{}
	acked := make(chan *kgo.Record, passingRecords)
	for n := 0; n < passingRecords && ctx.Err() == nil; n++ {
		client.Produce(ctx, &kgo.Record{Topic: passingTopic, Value: fmt.Appendf(nil, "%s record %d", p.prefix(), n)}, func(r *kgo.Record, err error) {
			if err == nil {
				acked <- r
			}
		})
		sleep(ctx, passingTurn)
	}
	_ = client.Flush(ctx) // the outcome of records says all
	client.Close()
	close(acked)
	for r := range acked {
		p.values[r.Offset] = string(r.Value)
	}
	return nil
}

// read reads the topic from its start, at any node. It must have each acknowledged record, and
// none of an earlier life. A follower may not know yet that a life has ended. A client that has
// seen an earlier life never reads a later one, so there is a new client after each error.
func (p *passing) read(hard context.Context) error {
	node := p.random.IntN(len(p.nodes))
	left := maps.Clone(p.values)
	for ; len(left) > 0 && hard.Err() == nil; sleep(hard, 300*time.Millisecond) {
		client, err := newClient(p.nodes[node],
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{passingTopic: {0: kgo.NewOffset().AtStart()}}))
		if err != nil {
			return err
		}
		old, failed := false, false
		for len(left) > 0 && hard.Err() == nil && !old && !failed {
			old, failed = p.poll(hard, client, left)
		}
		client.Close()
		if old && node == 0 && p.strict {
			p.history.Note(history.Phantom, "the leader has a record of an earlier life in life %d of %s", p.lives, passingTopic)
			return nil
		}
		if old {
			left = maps.Clone(p.values)
		}
	}
	if len(left) > 0 {
		p.history.Note(history.Stuck, "life %d of %s: %d of %d acknowledged records cannot be read at %s in time", p.lives, passingTopic, len(left), len(p.values), p.nodes[node])
	}
	return nil
}

// clientPatience is how long a client may have nothing to read before a new one is tried.
const clientPatience = 10 * time.Second

// poll takes records that are read from left. It reports whether one is of an earlier life, and
// whether the client failed, or got nothing for long.
func (p *passing) poll(hard context.Context, client *kgo.Client, left map[int64]string) (old, failed bool) {
	ctx, cancel := context.WithTimeout(hard, clientPatience)
	defer cancel()
	fetches := client.PollFetches(ctx)
	fetches.EachRecord(func(r *kgo.Record) {
		if old = old || !strings.HasPrefix(string(r.Value), p.prefix()); old {
			return
		}
		if want, ok := left[r.Offset]; ok && want != string(r.Value) {
			p.history.Note(history.OffsetReuse, "life %d of %s has %q at offset %d, where %q was acknowledged", p.lives, passingTopic, r.Value, r.Offset, want)
		}
		delete(left, r.Offset)
	})
	return old, fetches.Err() != nil
}

func (p *passing) prefix() string { return fmt.Sprintf("life %d,", p.lives) }
