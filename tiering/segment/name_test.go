package segment

import (
	"math"
	"testing"
)

func TestNamesParseBack(t *testing.T) {
	object, topic := byteID(1), byteID(2)
	shared, own := SharedSegment(7, object), OwnSegment(topic, 3, 42, object)
	keys := map[string]Name{
		"merged/7/" + object.String(): shared,
		"topics/" + topic.String() + "/3/00000000000000000042-" + object.String():          own,
		"topics/" + topic.String() + "/2147483647/09223372036854775806-" + object.String(): OwnSegment(topic, math.MaxInt32, math.MaxInt64-1, object),
		"merged/4294967295/" + object.String():                                             SharedSegment(math.MaxUint32, object),
	}
	for key, name := range keys {
		if name.Key() != key {
			t.Errorf("key of %+v is %s, want %s", name, name.Key(), key)
		}
		if got, ok := ParseMergedKey(key); !ok || got != name {
			t.Errorf("%s parses to %+v, %v", key, got, ok)
		}
		for i := range key {
			if got, ok := ParseMergedKey(key[:i]); ok {
				t.Errorf("%q parses to %+v", key[:i], got)
			}
		}
	}
	if !own.Own() || shared.Own() || DataObject(7, 1).Own() {
		t.Error("a name of an own segment is taken for another one, or another one for it")
	}
	if key := DataObject(7, 1).Key(); key != JournalKey(7, 1) {
		t.Errorf("key of a data object is %s", key)
	}
	for _, bad := range []string{
		"", JournalKey(7, 1), TopicNameKey(topic), "merged/07/" + object.String(), "merged/4294967296/" + object.String(),
		"merged/7/" + ID{}.String(), "topics/" + ID{}.String() + "/3/00000000000000000042-" + object.String(),
		"topics/" + topic.String() + "/-3/00000000000000000042-" + object.String(),
		"topics/" + topic.String() + "/2147483648/00000000000000000042-" + object.String(),
		"topics/" + topic.String() + "/3/09223372036854775807-" + object.String(),
		"topics/" + topic.String() + "/3/42-" + object.String(),
		"topics/" + topic.String() + "/3/00000000000000000042-" + object.String() + "/",
	} {
		if got, ok := ParseMergedKey(bad); ok {
			t.Errorf("%q parses to %+v", bad, got)
		}
	}
	if got, ok := ParseTopicNameKey(TopicNameKey(topic)); !ok || got != topic {
		t.Errorf("%s parses to %s, %v", TopicNameKey(topic), got, ok)
	}
	for _, bad := range []string{"", "topics/" + topic.String(), TopicNameKey(ID{}), TopicNameKey(topic) + "/name", own.Key()} {
		if got, ok := ParseTopicNameKey(bad); ok {
			t.Errorf("%q is taken for the name of topic %s", bad, got)
		}
	}
}

func TestIndexKeysParseBack(t *testing.T) {
	object := byteID(1)
	for key, name := range map[string]IndexName{
		"journals/7/index/" + object.String():                                {Journal: 7, Object: object},
		"journals/7/index/00000000000000000042-" + object.String():           {Journal: 7, Seq: 42, Object: object},
		"journals/7/index/00000000000000000042-" + object.String() + ".copy": {Journal: 7, Seq: 42, Object: object, Copy: true},
	} {
		if name.Key() != key {
			t.Errorf("key of %+v is %s, want %s", name, name.Key(), key)
		}
		if got, ok := ParseIndexKey(7, key); !ok || got != name {
			t.Errorf("%s parses to %+v, %v", key, got, ok)
		}
	}
	old := func(journal uint32) string { return IndexName{Journal: journal, Object: object}.Key() }
	if old(7) != "journals/7/index/"+object.String() {
		t.Errorf("old key is %s", old(7))
	}
	for _, bad := range []string{
		"", IndexPrefix(7), old(8), old(7) + ".copy", IndexPrefix(7) + "42-" + object.String(),
		IndexPrefix(7) + "00000000000000000000-" + object.String(), IndexPrefix(7) + "00000000000000000042-" + object.String() + ".copy.copy",
	} {
		if got, ok := ParseIndexKey(7, bad); ok {
			t.Errorf("%q parses to %+v", bad, got)
		}
	}
}
