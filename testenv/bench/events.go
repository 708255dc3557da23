package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// events makes JSON objects that are like those of a code host's public feed. They are nested,
// and have the same keys, names that come again and again, hashes, times, URLs, and messages
// of English words. The same seed makes the same events.
type events struct {
	rng   *rand.Rand
	names *rand.Zipf
	words *rand.Zipf
	id    int64
	at    time.Time
}

func newEvents(seed uint64) *events {
	rng := rand.New(rand.NewPCG(seed, 0))
	return &events{rng: rng, names: rand.NewZipf(rng, 1.1, 8, 200_000), words: rand.NewZipf(rng, 1.2, 4, uint64(len(eventWords)-1)),
		id: 28_000_000_000, at: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
}

var eventWords = strings.Fields(`the fix a to of in and for add test update when is with remove on use from error not
 build if it be this docs support version type bump check make as release option default module file change config name
 read write log server client request response merge branch set new move data cache page handle missing return value list
 key user default allow path avoid string null state message better after before into some only failing flaky typo rename
 refactor revert dependency upgrade security compile windows linux macos timeout retry limit parse field index number
 table schema column query plan node cluster memory leak race lock thread async await stream buffer socket token header`)

func (e *events) text(words int) string {
	picked := make([]string, words)
	for i := range picked {
		picked[i] = eventWords[e.words.Uint64()]
	}
	return strings.Join(picked, " ")
}

func (e *events) hash() string {
	return fmt.Sprintf("%016x%016x%08x", e.rng.Uint64(), e.rng.Uint64(), e.rng.Uint32())
}

// name is one of many, of which few are frequent.
func (e *events) name() (string, uint64) {
	n := e.names.Uint64()
	return fmt.Sprintf("%s-%s%d", eventWords[n%uint64(len(eventWords))], eventWords[n/7%uint64(len(eventWords))], n%97), n
}

type eventActor struct {
	ID        uint64 `json:"id"`
	Login     string `json:"login"`
	Display   string `json:"display_login"`
	Gravatar  string `json:"gravatar_id"`
	URL       string `json:"url"`
	AvatarURL string `json:"avatar_url"`
}

type eventRepo struct {
	ID   uint64 `json:"id"`
	Name string `json:"name"`
	URL  string `json:"url"`
}

type eventCommit struct {
	SHA      string            `json:"sha"`
	Author   map[string]string `json:"author"`
	Message  string            `json:"message"`
	Distinct bool              `json:"distinct"`
	URL      string            `json:"url"`
}

type event struct {
	ID        string         `json:"id"`
	Type      string         `json:"type"`
	Actor     eventActor     `json:"actor"`
	Repo      eventRepo      `json:"repo"`
	Payload   map[string]any `json:"payload"`
	Public    bool           `json:"public"`
	CreatedAt string         `json:"created_at"`
}

// next returns the key and the value of the next event.
func (e *events) next() (key, value []byte) {
	e.id += 1 + e.rng.Int64N(4)
	e.at = e.at.Add(time.Duration(e.rng.Int64N(int64(40 * time.Millisecond))))
	login, user := e.name()
	owner, repo := e.name()
	full := owner + "/" + eventWords[repo%uint64(len(eventWords))]
	v := event{ID: fmt.Sprint(e.id), Public: true, CreatedAt: e.at.Format(time.RFC3339),
		Actor: eventActor{ID: 10_000 + user*37, Login: login, Display: login, URL: "https://api.codehost.example/users/" + login,
			AvatarURL: fmt.Sprintf("https://avatars.codehost.example/u/%d?", 10_000+user*37)},
		Repo: eventRepo{ID: 500_000 + repo*101, Name: full, URL: "https://api.codehost.example/repos/" + full}}
	v.Type, v.Payload = e.payload(full, login)
	value, err := json.Marshal(v)
	if err != nil {
		panic(err) // no value of it can fail
	}
	return []byte(full), value
}

func (e *events) payload(repo, login string) (string, map[string]any) {
	api := "https://api.codehost.example/repos/" + repo
	number := 1 + e.rng.IntN(9000)
	issue := func() map[string]any {
		return map[string]any{"url": fmt.Sprintf("%s/issues/%d", api, number), "number": number, "title": e.text(4 + e.rng.IntN(8)), "state": "open",
			"user": map[string]any{"login": login, "type": "User", "site_admin": false}, "comments": e.rng.IntN(20), "locked": false,
			"labels": []string{eventWords[e.rng.IntN(60)]}, "created_at": e.at.Format(time.RFC3339), "body": e.text(10 + e.rng.IntN(80))}
	}
	switch n := e.rng.IntN(100); {
	case n < 50:
		commits := make([]eventCommit, 1+e.rng.IntN(4))
		for i := range commits {
			sha := e.hash()
			commits[i] = eventCommit{SHA: sha, Author: map[string]string{"name": login, "email": login + "@users.codehost.example"},
				Message: e.text(5 + e.rng.IntN(20)), Distinct: true, URL: api + "/commits/" + sha}
		}
		return "PushEvent", map[string]any{"push_id": e.id * 3, "size": len(commits), "distinct_size": len(commits), "ref": "refs/heads/main",
			"head": commits[len(commits)-1].SHA, "before": e.hash(), "commits": commits}
	case n < 65:
		return "PullRequestEvent", map[string]any{"action": "opened", "number": number, "pull_request": issue(), "merge_commit_sha": e.hash(),
			"additions": e.rng.IntN(900), "deletions": e.rng.IntN(300), "changed_files": 1 + e.rng.IntN(20)}
	case n < 80:
		return "IssueCommentEvent", map[string]any{"action": "created", "issue": issue(), "comment": map[string]any{"id": e.id * 2, "body": e.text(8 + e.rng.IntN(60))}}
	case n < 90:
		return "CreateEvent", map[string]any{"ref": e.text(1), "ref_type": "branch", "master_branch": "main", "description": e.text(9), "pusher_type": "user"}
	}
	return "WatchEvent", map[string]any{"action": "started"}
}

// compression is a topic of compressEvents.
type compression struct {
	name   string
	codec  kgo.CompressionCodec
	batch  int32 // bytes, before compression
	config map[string]string
}

func (c *compression) topic() string {
	return fmt.Sprintf("%s-%d-%s", c.name, c.batch, strings.Join([]string{c.config["compression.type"], c.config["compression.zstd.level"]}, ""))
}

func compressions() (all []compression) {
	for _, batch := range []int32{16 << 10, 1_000_000} {
		for _, by := range []compression{{name: "none", codec: kgo.NoCompression()}, {name: "lz4", codec: kgo.Lz4Compression()}} {
			by.batch = batch
			all = append(all, by)
			for _, level := range []string{"1", "3", "9"} {
				by.config = map[string]string{"compression.type": "zstd", "compression.zstd.level": level}
				all = append(all, by)
			}
		}
	}
	return all
}

// compressEvents writes the same events to topics of several configurations, has each
// merged by itself, and compares the bytes that are stored.
func compressEvents(ctx context.Context, l *lab) (t *sheet, err error) {
	t = &sheet{Columns: []string{"producer", "batch", "topic", "stored MB", "of uncompressed", "merge CPU s/GB", "merge s"}}
	list := compressions()
	each := l.o.fill / int64(len(list))
	s, err := l.newSite(ctx, l.o.varve, restingFlags...)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, s.remove(ctx)) }()
	type cost struct {
		bytes        int64
		cpu, seconds float64
	}
	costs := map[string]cost{}
	for i := range list {
		c := &list[i]
		var of cost
		if of.bytes, err = s.writeEvents(ctx, c, each); err != nil {
			return t, err
		}
		if err := s.again(ctx, joiningFlags...); err != nil {
			return t, err
		}
		before, err := s.counters(ctx)
		if err != nil {
			return t, err
		}
		began := time.Now()
		if err := s.merged(ctx); err != nil {
			return t, err
		}
		after, err := s.counters(ctx)
		if err != nil {
			return t, err
		}
		of.cpu, of.seconds = after.cpu-before.cpu, (time.Since(began) - mergedQuiet).Seconds()
		costs[c.topic()] = of
		if err := s.again(ctx, restingFlags...); err != nil {
			return t, err
		}
	}
	stored, err := s.storedBytes(ctx)
	if err != nil {
		return t, err
	}
	for i := range list {
		c := &list[i]
		of, base := costs[c.topic()], stored[fmt.Sprintf("none-%d-", c.batch)]
		config := "producer"
		if len(c.config) > 0 {
			config = "zstd " + c.config["compression.zstd.level"]
		}
		gb := float64(of.bytes) / 1e9
		t.add(c.name, fmt.Sprint(c.batch), config, short(float64(stored[c.topic()])/1e6), short(float64(stored[c.topic()])/float64(base)), short(of.cpu/gb), short(of.seconds))
	}
	t.note("%.0f MB of keys and values each; a GB is one of keys and values", float64(each)/1e6)
	return t, nil
}

// writeEvents makes a topic and writes events to it, a number of bytes at least.
func (s *site) writeEvents(ctx context.Context, c *compression, bytes int64) (written int64, err error) {
	if _, err := s.createTopicAs(ctx, c.topic(), 4, c.config); err != nil {
		return 0, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka), kgo.DefaultProduceTopic(c.topic()), kgo.ProducerBatchCompression(c.codec),
		kgo.ProducerBatchMaxBytes(c.batch), kgo.ProducerLinger(50*time.Millisecond), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	var first firstError
	for e := newEvents(1); written < bytes && first.get() == nil; {
		key, value := e.next()
		written += int64(len(key) + len(value))
		client.Produce(ctx, &kgo.Record{Key: key, Value: value}, first.note)
	}
	if err := errors.Join(client.Flush(ctx), first.get()); err != nil {
		return 0, fmt.Errorf("fill %s: %w", c.topic(), err)
	}
	_, err = s.settle(ctx)
	return written, err
}
