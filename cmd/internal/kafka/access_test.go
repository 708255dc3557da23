package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	kplain "github.com/twmb/franz-go/pkg/sasl/plain"
	kscram "github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/cmd/internal/kafka/sasl"
	"github.com/varvelog/varve/metadata/acl"
	"github.com/varvelog/varve/metadata/scram"
	"github.com/varvelog/varve/testenv/certs"
)

// secured is a cluster with users and ACLs: root may do everything, alice nothing yet.
func secured(t testing.TB, change func(*Access)) (*cluster, *running) {
	t.Helper()
	return securedOn(t, change, listener.Security{SASL: true})
}

func securedOn(t testing.TB, change func(*Access), security listener.Security) (*cluster, *running) {
	t.Helper()
	c := newCluster()
	c.addTopic(t, "events", 1, nil)
	c.setUser("alice", "alice-secret")
	root, err := scram.FromPassword(scram.SHA256, "root-secret", []byte("salt"), scram.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RequireAuthentication(t.Context(), "root", []scram.Credential{root}); err != nil {
		t.Fatal(err)
	}
	server, err := sasl.NewServer(sasl.Mechanisms(), c.state.Credential, bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	b := c.backend()
	b.Access = Access{Required: c.state.AuthenticationRequired, Rules: c.state.Rules, Users: c.state.Users, SASL: server}
	if change != nil {
		change(&b.Access)
	}
	return c, startSecure(t, c, Config{}, b, &b.Access, security)
}

// allow lets a user do an operation on a resource.
func (c *cluster) allow(user string, op acl.Operation, kind acl.Type, name string) acl.Binding {
	b := acl.Binding{Type: kind, Pattern: acl.Literal, Name: name, Principal: "User:" + user, Host: "*", Operation: op, Permission: acl.Allow}
	c.CreateACLs(context.Background(), []acl.Binding{b})
	return b
}

// login authenticates a raw connection by PLAIN, and returns the last answer.
func (c *client) login(handshake, version int16, user, password string) *kmsg.SASLAuthenticateResponse {
	c.t.Helper()
	if resp := c.ask(&kmsg.SASLHandshakeRequest{Version: handshake, Mechanism: sasl.Plain}).(*kmsg.SASLHandshakeResponse); resp.ErrorCode != 0 || !slices.Equal(resp.SupportedMechanisms, sasl.Mechanisms()) {
		c.t.Fatalf("handshake: %+v", resp)
	}
	token := []byte("\x00" + user + "\x00" + password)
	return c.ask(&kmsg.SASLAuthenticateRequest{Version: version, SASLAuthBytes: token}).(*kmsg.SASLAuthenticateResponse)
}

func TestUsersLogInWithEveryMechanism(t *testing.T) {
	c, r := secured(t, nil)
	c.allow("alice", acl.Write, acl.Topic, "events")
	for name, mechanism := range map[string]func(password string) kgo.Opt{
		"PLAIN": func(p string) kgo.Opt { return kgo.SASL(kplain.Auth{User: "alice", Pass: p}.AsMechanism()) },
		"256":   func(p string) kgo.Opt { return kgo.SASL(kscram.Auth{User: "alice", Pass: p}.AsSha256Mechanism()) },
		"512":   func(p string) kgo.Opt { return kgo.SASL(kscram.Auth{User: "alice", Pass: p}.AsSha512Mechanism()) },
	} {
		for password, want := range map[string]error{"alice-secret": nil, "other": kerr.SaslAuthenticationFailed} {
			cl, err := kgo.NewClient(kgo.SeedBrokers(r.addr), mechanism(password), kgo.RetryTimeout(time.Second))
			if err != nil {
				t.Fatal(err)
			}
			if err = cl.Ping(t.Context()); err == nil {
				err = cl.ProduceSync(t.Context(), &kgo.Record{Topic: "events", Value: []byte("v"), Timestamp: c.now}).FirstErr()
			}
			cl.Close()
			if !errors.Is(err, want) {
				t.Errorf("%s with %s: %v, want %v", name, password, err, want)
			}
		}
	}
}

// Nothing but the way in is answered before, and no large frame is read.
func TestNothingIsServedBeforeAuthentication(t *testing.T) {
	_, r := secured(t, nil)
	for _, a := range registrations {
		if a.BeforeAuthentication {
			continue
		}
		whole, begun := r.dial(t), r.dial(t)
		whole.Send(append(listenertest.Head(8, a.Key.Int16(), a.Max), 0, 0, 0, 1, 0xff, 0xff)[:12])
		begun.Send(listenertest.Head(60<<10, a.Key.Int16(), a.Max))
		whole.ExpectClosed()
		begun.ExpectClosed()
	}
	for _, key := range []int16{17, 18, 36} {
		cl := r.dial(t)
		cl.Send(listenertest.Head(64<<10+1, key, 0))
		cl.ExpectClosed()
	}
	cl := r.dial(t)
	for range 3 {
		cl.ask(sample(18, 4, nil))
	}
}

func TestExchangesOutOfOrderEndTheConnection(t *testing.T) {
	for name, talk := range map[string]func(cl *client) int16{
		"a message without a handshake": func(cl *client) int16 {
			return cl.ask(&kmsg.SASLAuthenticateRequest{Version: 2}).(*kmsg.SASLAuthenticateResponse).ErrorCode
		},
		"a mechanism that is not enabled": func(cl *client) int16 {
			return cl.ask(&kmsg.SASLHandshakeRequest{Version: 1, Mechanism: "GSSAPI"}).(*kmsg.SASLHandshakeResponse).ErrorCode
		},
		"another password": func(cl *client) int16 { return cl.login(1, 2, "alice", "x").ErrorCode },
		"no such user":     func(cl *client) int16 { return cl.login(1, 0, "bob", "x").ErrorCode },
		"a message after the last": func(cl *client) int16 {
			cl.login(1, 2, "alice", "alice-secret")
			return cl.ask(&kmsg.SASLAuthenticateRequest{Version: 2}).(*kmsg.SASLAuthenticateResponse).ErrorCode
		},
		"another user on the same connection": func(cl *client) int16 {
			cl.login(1, 2, "alice", "alice-secret")
			return cl.login(1, 2, "root", "root-secret").ErrorCode
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, r := secured(t, nil)
			cl := r.dial(t)
			want := map[string]int16{
				"a message without a handshake": kerr.IllegalSaslState.Code, "a message after the last": kerr.IllegalSaslState.Code,
				"a mechanism that is not enabled": kerr.UnsupportedSaslMechanism.Code,
			}[name]
			if want == 0 {
				want = kerr.SaslAuthenticationFailed.Code
			}
			if code := talk(cl); code != want {
				t.Errorf("code %d, want %d", code, want)
			}
			cl.ExpectClosed()
		})
	}
}

// After version 0 of SaslHandshake the messages have no headers.
func TestOldClientsSendMessagesWithoutHeaders(t *testing.T) {
	c, r := secured(t, nil)
	c.allow("alice", acl.Describe, acl.Topic, "events")
	for password, in := range map[string]bool{"alice-secret": true, "x": false} {
		cl := r.dial(t)
		cl.ask(&kmsg.SASLHandshakeRequest{Version: 0, Mechanism: sasl.Plain})
		token := []byte("\x00alice\x00" + password)
		cl.Send(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...))
		if !in {
			cl.ExpectClosed()
			continue
		}
		if b, err := io.ReadAll(io.LimitReader(cl, 4)); err != nil || !bytes.Equal(b, make([]byte, 4)) {
			t.Fatalf("the answer is %x, %v", b, err)
		}
		if resp := cl.ask(&kmsg.MetadataRequest{Version: 12}).(*kmsg.MetadataResponse); len(resp.Topics) != 1 {
			t.Errorf("topics %+v", resp.Topics)
		}
	}
	huge := r.dial(t)
	huge.ask(&kmsg.SASLHandshakeRequest{Version: 0, Mechanism: sasl.Plain})
	huge.Send([]byte{0, 0, 0xff, 0xff})
	huge.ExpectClosed()
}

func TestRightsThatAreTakenAwayAreGoneAtOnce(t *testing.T) {
	c, r := secured(t, nil)
	rule := c.allow("alice", acl.Write, acl.Topic, "events")
	cl := r.dial(t)
	cl.login(1, 2, "alice", "alice-secret")
	topic, _ := c.Topic("events")
	produce := func() int16 {
		return cl.ask(sample(0, 9, topic)).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
	}
	if code := produce(); code != 0 {
		t.Fatalf("code %d", code)
	}
	c.DeleteACLs(t.Context(), []acl.Filter{{Type: rule.Type, Pattern: rule.Pattern, Name: &rule.Name, Operation: rule.Operation, Permission: rule.Permission}})
	if code := produce(); code != kerr.TopicAuthorizationFailed.Code {
		t.Errorf("without the rule: code %d", code)
	}
	c.removeUser("alice")
	cl.send(sample(0, 9, topic))
	cl.ExpectClosed()
}

func TestSessionsEnd(t *testing.T) {
	c, r := secured(t, func(a *Access) { a.MaxReauth = time.Minute })
	c.allow("alice", acl.Describe, acl.Topic, "events")
	cl := r.dial(t)
	if resp := cl.login(1, 1, "alice", "alice-secret"); resp.SessionLifetimeMillis != 60_000 {
		t.Errorf("the session lasts %d ms", resp.SessionLifetimeMillis)
	}
	list := &kmsg.MetadataRequest{Version: 12}
	cl.ask(list)
	c.pass(59 * time.Second)
	cl.ask(list)
	if resp := cl.login(1, 1, "alice", "alice-secret"); resp.ErrorCode != 0 {
		t.Fatalf("again: %+v", resp)
	}
	c.pass(59 * time.Second)
	cl.ask(list)
	c.pass(time.Second)
	cl.login(1, 1, "alice", "alice-secret") // an ended session can still begin again
	cl.ask(list)
	c.pass(time.Minute)
	cl.send(list)
	cl.ExpectClosed()
}

func TestUsersAndACLsAreAdministered(t *testing.T) {
	_, r := secured(t, nil)
	as := func(user, password string) *kadm.Client {
		cl, err := kgo.NewClient(kgo.SeedBrokers(r.addr), kgo.SASL(kscram.Auth{User: user, Pass: password}.AsSha256Mechanism()), kgo.RetryTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return kadm.NewClient(cl)
	}
	root, ctx := as("root", "root-secret"), t.Context()
	upsert := kadm.UpsertSCRAM{User: "bob", Mechanism: kadm.ScramSha256, Iterations: 8192, Password: "bob-secret"}
	set, err := root.AlterUserSCRAMs(ctx, []kadm.DeleteSCRAM{{User: "dave", Mechanism: kadm.ScramSha512}}, []kadm.UpsertSCRAM{upsert})
	if err != nil || set["bob"].Err != nil || !errors.Is(set["dave"].Err, kerr.ResourceNotFound) {
		t.Errorf("%+v, %v", set, err)
	}
	described, err := root.DescribeUserSCRAMs(ctx)
	if err != nil || len(described) != 3 || described["bob"].CredInfos[0].Iterations != 8192 || len(described["alice"].CredInfos) != 2 {
		t.Errorf("%+v, %v", described, err)
	}
	one, err := root.DescribeUserSCRAMs(ctx, "bob", "eve")
	if err != nil || len(one) != 2 || !errors.Is(one["eve"].Err, kerr.ResourceNotFound) {
		t.Errorf("%+v, %v", one, err)
	}
	bob := as("bob", "bob-secret")
	if topics, err := bob.ListTopics(ctx); err != nil || len(topics) != 0 {
		t.Errorf("bob sees %v, %v", topics.Names(), err)
	}
	made, err := root.CreateACLs(ctx, kadm.NewACLs().Topics("ev").Allow("User:bob").AllowHosts("*").Operations(kmsg.ACLOperationRead).ResourcePatternType(kadm.ACLPatternPrefixed))
	if err != nil || len(made) != 1 || made[0].Err != nil {
		t.Fatalf("%+v, %v", made, err)
	}
	bob = as("bob", "bob-secret") // a client keeps the metadata of topics for a while
	if topics, err := bob.ListTopics(ctx); err != nil || len(topics) != 1 {
		t.Errorf("bob sees %v, %v", topics.Names(), err)
	}
	if again, err := bob.CreateACLs(ctx, kadm.NewACLs().Topics("ev").Allow("User:bob").AllowHosts("*").Operations(kmsg.ACLOperationWrite)); err != nil || !errors.Is(again[0].Err, kerr.ClusterAuthorizationFailed) {
		t.Errorf("bob makes rules: %+v, %v", again, err)
	}
	gone, err := root.DeleteACLs(ctx, kadm.NewACLs().Topics("ev").Allow("User:bob").AllowHosts("*").Operations(kmsg.ACLOperationRead).ResourcePatternType(kadm.ACLPatternPrefixed))
	if err != nil || len(gone) != 1 || len(gone[0].Deleted) != 1 {
		t.Errorf("%+v, %v", gone, err)
	}
	bob = as("bob", "bob-secret")
	if topics, err := bob.ListTopics(ctx); err != nil || len(topics) != 0 {
		t.Errorf("bob sees %v, %v", topics.Names(), err)
	}
}

func TestSuperUsersNeedNoRules(t *testing.T) {
	_, r := secured(t, func(a *Access) { a.SuperUsers = []string{"User:alice"} })
	cl := r.dial(t)
	cl.login(1, 2, "alice", "alice-secret")
	if resp := cl.ask(&kmsg.MetadataRequest{Version: 12}).(*kmsg.MetadataResponse); len(resp.Topics) != 1 {
		t.Errorf("topics %+v", resp.Topics)
	}
}

// A client with a certificate is the user that it names.
func TestCertificatesNameTheUser(t *testing.T) {
	authority, err := certs.NewAuthority("tests")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(a *certs.Authority, name string, valid time.Duration) tls.Certificate {
		i, err := a.Issue(pkix.Name{CommonName: name}, valid, "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		c, err := i.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	server := &tls.Config{Certificates: []tls.Certificate{issue(authority, "server", time.Hour)}, ClientCAs: authority.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	c, r := securedOn(t, nil, listener.Security{
		TLS: func() *tls.Config { return server },
		Principal: func(s tls.ConnectionState) (listener.Principal, error) {
			return listener.Principal{Type: "User", Name: s.PeerCertificates[0].Subject.CommonName}, nil
		},
	})
	c.allow("alice", acl.Write, acl.Topic, "events")
	c.allow("alice", acl.Read, acl.Topic, "events")
	other, err := certs.NewAuthority("others")
	if err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte("0123456789"), 60_000) // many records of TLS
	for name, test := range map[string]struct {
		certs []tls.Certificate
		in    bool
	}{
		"alice": {[]tls.Certificate{issue(authority, "alice", time.Hour)}, true}, "nobody": {nil, false},
		"bob": {[]tls.Certificate{issue(authority, "bob", time.Hour)}, false}, "a past alice": {[]tls.Certificate{issue(authority, "alice", -time.Hour)}, false},
		"a foreign alice": {[]tls.Certificate{issue(other, "alice", time.Hour)}, false},
	} {
		cl, err := kgo.NewClient(kgo.SeedBrokers(r.addr), kgo.DialTLSConfig(&tls.Config{RootCAs: authority.Pool(), Certificates: test.certs}),
			kgo.RetryTimeout(time.Second), kgo.ConsumeTopics("events"), kgo.ProducerBatchMaxBytes(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if test.in {
			ctx = t.Context()
		}
		err = cl.ProduceSync(ctx, &kgo.Record{Topic: "events", Value: value, Timestamp: c.now}).FirstErr()
		cancel()
		if test.in != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if test.in {
			polling, cancel := context.WithTimeout(t.Context(), time.Minute)
			fetched := cl.PollFetches(polling)
			cancel()
			if records := fetched.Records(); fetched.Err() != nil || len(records) != 1 || !bytes.Equal(records[0].Value, value) {
				t.Errorf("%s reads %d records, %v", name, len(records), fetched.Err())
			}
		}
		cl.Close()
	}
	plain, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Write(listenertest.Encode(sample(18, 4, nil), 1)); err != nil {
		t.Fatal(err)
	}
	_ = plain.SetReadDeadline(time.Now().Add(time.Minute))
	if b, err := io.ReadAll(plain); err == nil && len(b) > 64 {
		t.Errorf("a client without TLS gets %x", b)
	}
}
