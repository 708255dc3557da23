package bucket

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/varvelog/varve/tiering/objstore/minio"
	"github.com/varvelog/varve/tiering/objstore/s3"
)

// parseRemote reads a URL of a store across the network, without credentials.
func parseRemote(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil { // its text may show a password
		return nil, fmt.Errorf("cannot be read; write %s", forms)
	}
	if u.User != nil {
		return nil, errors.New("credentials do not belong in a URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	if u.Fragment != "" {
		return nil, errors.New("nothing may follow a #")
	}
	return u, nil
}

func parseMinIO(raw string) (location, error) {
	u, err := parseRemote(raw)
	if err != nil {
		return location{}, err
	}
	if err := checkHost(u); err != nil {
		return location{}, err
	}
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if bucket == "" {
		return location{}, fmt.Errorf("names no bucket; write minio://%s/bucket/prefix", u.Host)
	}
	secure, err := parseQuery(u.RawQuery)
	if err != nil {
		return location{}, err
	}
	return location{minio: &minio.Config{Endpoint: u.Host, Secure: secure, Bucket: bucket, Prefix: prefix}}, nil
}

func checkHost(u *url.URL) error {
	if u.Hostname() == "" {
		return errors.New("names no host; write minio://host:port/bucket/prefix")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q is not a port", p)
		}
	}
	if strings.HasSuffix(u.Host, ":") {
		return fmt.Errorf("%q is not host:port", u.Host)
	}
	return nil
}

// parseQuery reads the options after the ?: whether to use TLS, which is the
// default.
func parseQuery(raw string) (secure bool, err error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return false, err
	}
	secure = true
	for key, values := range query {
		if key != "secure" {
			return false, fmt.Errorf("%q is not an option; use secure=true or secure=false", key)
		}
		if secure, err = parseBool(key, values); err != nil {
			return false, err
		}
	}
	return secure, nil
}

// parseS3 reads s3://bucket/prefix and its options. Without them the region
// comes from the environment and files of the AWS tools, and the store is
// Amazon's.
func parseS3(raw string) (location, error) {
	u, err := parseRemote(raw)
	if err != nil {
		return location{}, err
	}
	if u.Host == "" {
		return location{}, errors.New("names no bucket; write s3://bucket/prefix")
	}
	if strings.Contains(u.Host, ":") {
		return location{}, fmt.Errorf("%q is not a bucket; write s3://bucket/prefix?endpoint=https://%s", u.Host, u.Host)
	}
	cfg := s3.Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return location{}, err
	}
	for key, values := range query {
		if err := setS3(&cfg, key, values); err != nil {
			return location{}, err
		}
	}
	return location{s3: &cfg}, cfg.Check()
}

func setS3(cfg *s3.Config, key string, values []string) (err error) {
	var text *string
	switch key {
	case "path-style":
		cfg.PathStyle, err = parseBool(key, values)
		return err
	case "region":
		text = &cfg.Region
	case "endpoint":
		text = &cfg.Endpoint
	default:
		return fmt.Errorf("%q is not an option; use region, endpoint or path-style", key)
	}
	if len(values) != 1 || values[0] == "" {
		return fmt.Errorf("%s is %q; write %s=..., once", key, strings.Join(values, ","), key)
	}
	*text = values[0]
	return nil
}

// parseBool reads the value of an option that is true or false.
func parseBool(key string, values []string) (bool, error) {
	if len(values) != 1 || values[0] != "true" && values[0] != "false" {
		return false, fmt.Errorf("%s is %q; write %s=true or %s=false, once", key, strings.Join(values, ","), key, key)
	}
	return values[0] == "true", nil
}
