package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/topicconfig"
)

// DescribeConfigs, key 32 (KIP-133).
//
//	v1  source of a value and synonyms, in place of is_default (KIP-226)
//	v3  type and documentation (KIP-569)
//	v4  flexible
//
// Topics are named, brokers by their id. A broker describes its own settings, which are
// read-only; those in nodeconfigs.go are known of other brokers, too. The empty broker name
// asks for the configs of all brokers.
func init() {
	register(listener.API{
		Key: kmsg.DescribeConfigs, Min: 1, Max: 4, Bulky: true,
		Shape: shape{
			listOf(sizeOf[kmsg.DescribeConfigsRequestResource](), num(1), str(), strs()),
			num(1).From(1), num(1).From(3),
		},
	}, func(s *services) listener.Handler { return s.configs.beginDescribeConfigs })
}

// config is one config of a topic or a broker.
type config struct {
	name, value string
	source      kmsg.ConfigSource
	kind        topicconfig.Type
	doc         string
	readOnly    bool
	synonyms    []synonym // the sources of the value, the effective one first
}

type synonym struct {
	name, value string
	source      kmsg.ConfigSource
}

func (s *configService) beginDescribeConfigs(_ context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.DescribeConfigsRequest)
	resp := kmsg.NewPtrDescribeConfigsResponse()
	wanted := distinct(req.Resources, func(q kmsg.DescribeConfigsRequestResource) any { return resource{q.ResourceType, q.ResourceName} })
	var code firstCode
	for _, q := range wanted {
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = q.ResourceType, q.ResourceName
		configs, err := s.describeConfigs(r, q)
		if err != nil {
			out.ErrorCode = code.note(s.codeFor(err, onAdmin, "DescribeConfigs"))
			out.ErrorMessage = kmsg.StringPtr(err.Error())
		}
		for _, c := range configs {
			if len(q.ConfigNames) == 0 || slices.Contains(q.ConfigNames, c.name) {
				out.Configs = append(out.Configs, c.response(req.IncludeSynonyms, req.IncludeDocumentation))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	r.Reply(resp, int16(code))
}

func (s *configService) describeConfigs(r *listener.Request, q kmsg.DescribeConfigsRequestResource) ([]config, error) {
	switch q.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := metadata.CheckName(q.ResourceName); err != nil {
			return nil, err
		}
		t, err := s.gate.topic(r, toDescribeConfigs, byName(q.ResourceName))
		if err != nil {
			return nil, err
		}
		return configsOf(t), nil
	case kmsg.ConfigResourceTypeBroker:
		return s.describeBroker(r, q)
	}
	return nil, coded(kerr.InvalidRequest, "there are no configs of %s resources here", q.ResourceType)
}

// configsOf lists all configs of a topic, by name.
func configsOf(t *metadata.Topic) []config {
	defs := topicconfig.Defs()
	out := make([]config, 0, len(defs))
	for _, d := range defs {
		c := config{name: d.Name, value: d.Default, source: kmsg.ConfigSourceDefaultConfig, kind: d.Type, doc: d.Doc}
		if v, set := t.Configs[d.Name]; set {
			c.value, c.source = v, kmsg.ConfigSourceDynamicTopicConfig
			c.synonyms = append(c.synonyms, synonym{d.Name, v, c.source})
		}
		if d.Broker != "" {
			c.synonyms = append(c.synonyms, synonym{d.Broker, d.Default, kmsg.ConfigSourceDefaultConfig})
		}
		out = append(out, c)
	}
	return out
}

func brokerConfigs(in []topicconfig.BrokerConfig) []config {
	out := make([]config, 0, len(in))
	for _, b := range in {
		c := config{name: b.Name, value: b.Value, source: kmsg.ConfigSourceStaticBrokerConfig, kind: b.Type, doc: b.Doc, readOnly: true}
		if b.IsDefault {
			c.source = kmsg.ConfigSourceDefaultConfig
		}
		c.synonyms = []synonym{{b.Name, b.Value, c.source}}
		out = append(out, c)
	}
	return out
}

func (c *config) response(synonyms, docs bool) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value = c.name, &c.value
	out.ReadOnly, out.Source, out.ConfigType = c.readOnly, c.source, kmsg.ConfigType(c.kind)
	if docs {
		out.Documentation = &c.doc
	}
	if !synonyms {
		return out
	}
	for _, sy := range c.synonyms {
		s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		s.Name, s.Value, s.Source = sy.name, kmsg.StringPtr(sy.value), sy.source
		out.ConfigSynonyms = append(out.ConfigSynonyms, s)
	}
	return out
}
