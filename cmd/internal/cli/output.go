package cli

import (
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// format appends one record to dst as it is printed.
type format func(dst []byte, r *kgo.Record) []byte

// rawFormat prints values, or keys and values, one record a line.
func rawFormat(printKey bool, separator string) format {
	return func(dst []byte, r *kgo.Record) []byte {
		if printKey {
			dst = append(dst, r.Key...)
			dst = append(dst, separator...)
		}
		dst = append(dst, r.Value...)
		return append(dst, '\n')
	}
}

// jsonFormat prints one object a line:
//
//	{"topic":"t","partition":0,"offset":7,"timestamp":"2024-05-01T12:00:00.000Z",
//	 "key":"k","value":"v","headers":[{"key":"h","value":"x"}]}
//
// A missing key or value and an unset timestamp are null. Bytes that are not
// UTF-8 are base64, with "key_encoding" or "value_encoding" set to "base64" in
// the same object.
func jsonFormat(dst []byte, r *kgo.Record) []byte { return appendJSON(dst, "topic", r) }

// appendJSON appends one object a line; topicField is the name of the field for
// r.Topic.
func appendJSON(dst []byte, topicField string, r *kgo.Record) []byte {
	dst = append(dst, '{')
	dst = appendString(dst, topicField)
	dst = append(dst, ':')
	dst = appendString(dst, r.Topic)
	dst = append(dst, `,"partition":`...)
	dst = strconv.AppendInt(dst, int64(r.Partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, r.Offset, 10)
	dst = append(dst, `,"timestamp":`...)
	dst = appendTime(dst, r.Timestamp)
	dst = append(dst, ',')
	dst = appendBytes(dst, "key", r.Key)
	dst = append(dst, ',')
	dst = appendBytes(dst, "value", r.Value)
	dst = append(dst, `,"headers":[`...)
	for i, h := range r.Headers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		dst = appendBytes(dst, "key", []byte(h.Key))
		dst = append(dst, ',')
		dst = appendBytes(dst, "value", h.Value)
		dst = append(dst, '}')
	}
	return append(dst, ']', '}', '\n')
}

func appendTime(dst []byte, t time.Time) []byte {
	if t.UnixMilli() < 0 {
		return append(dst, "null"...)
	}
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, timeLayout)
	return append(dst, '"')
}

// appendBytes appends "name":value, with the encoding if value is not text.
func appendBytes(dst []byte, name string, value []byte) []byte {
	dst = appendString(dst, name)
	dst = append(dst, ':')
	if value == nil {
		return append(dst, "null"...)
	}
	if utf8.Valid(value) {
		return appendString(dst, value)
	}
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, value)
	dst = append(dst, `","`...)
	dst = append(dst, name...)
	return append(dst, `_encoding":"base64"`...)
}

// appendString appends s, which is valid UTF-8, as a JSON string (RFC 8259,
// section 7).
func appendString[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	begin := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[begin:i]...)
		begin = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, s[begin:]...)
	return append(dst, '"')
}
