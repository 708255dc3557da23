package s3wire

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

const (
	noRules = "NoSuchLifecycleConfiguration"
	noLock  = "ObjectLockConfigurationNotFoundError"
)

// settings answers requests for the settings of a bucket, and passes on all others.
func settings(versioning, lock, rules http.HandlerFunc) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		switch q := r.URL.Query(); {
		case q.Has("versioning"):
			versioning(w, r)
		case q.Has("object-lock"):
			lock(w, r)
		case q.Has("lifecycle"):
			rules(w, r)
		default:
			honest.ServeHTTP(w, r)
		}
	}
}

// settingsOf is the content of a bucket's settings, and of a rule in them.
func settingsOf(name, content string) http.HandlerFunc {
	return reply(200, nil, "<"+name+">"+content+"</"+name+">")
}

func rule(id, filter, action string) string {
	return "<Rule><ID>" + id + "</ID><Status>Enabled</Status>" + filter + action + "</Rule>"
}

func rules(content ...string) http.HandlerFunc {
	return settingsOf("LifecycleConfiguration", strings.Join(content, ""))
}

const (
	everywhere = "<Filter></Filter>"
	expire30   = "<Expiration><Days>30</Days></Expiration>"
	noncurrent = "<NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays></NoncurrentVersionExpiration>"
)

func below(prefix string) string { return "<Filter><Prefix>" + prefix + "</Prefix></Filter>" }

// policyNamesHarmfulRules has every kind of rule; the prefix of the store is "some/prefix".
func policyNamesHarmfulRules(t *testing.T, open Opener) {
	for name, c := range map[string]struct {
		rule string
		says string // in the error; "" for no error
		days int
	}{
		"expires everything":           {rule("r", everywhere, expire30), `rule "r" of the whole bucket expires objects after 30 days`, 0},
		"without a filter":             {rule("r", "<Prefix></Prefix>", expire30), `rule "r" of the whole bucket expires objects`, 0},
		"expires by date":              {rule("r", everywhere, "<Expiration><Date>2030-01-02T00:00:00Z</Date></Expiration>"), "expires objects on 2030-01-02", 0},
		"moves":                        {rule("r", everywhere, "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"), "storage class GLACIER", 0},
		"moves at once":                {rule("r", everywhere, "<Transition><Days>0</Days><StorageClass>STANDARD_IA</StorageClass></Transition>"), "storage class STANDARD_IA", 0},
		"above":                        {rule("r", below("some/"), expire30), `for the prefix "some/"`, 0},
		"the same prefix":              {rule("r", below("some/prefix/"), expire30), `for the prefix "some/prefix/"`, 0},
		"a part of the name":           {rule("r", below("some/pre"), expire30), `for the prefix "some/pre"`, 0},
		"inside":                       {rule("r", below("some/prefix/journals/"), expire30), `for the prefix "some/prefix/journals/"`, 0},
		"the old form":                 {rule("r", "<Prefix>some/</Prefix>", expire30), `for the prefix "some/"`, 0},
		"in an And, with a size":       {rule("r", "<Filter><And><Prefix>some/</Prefix><ObjectSizeGreaterThan>1000</ObjectSizeGreaterThan></And></Filter>", expire30), `"some/"`, 0},
		"larger objects":               {rule("r", "<Filter><ObjectSizeGreaterThan>1000</ObjectSizeGreaterThan></Filter>", expire30), "expires", 0},
		"the second one":               {rule("fine", below("other/"), expire30) + rule("r", everywhere, expire30), `rule "r"`, 0},
		"all versions":                 {rule("r", everywhere, "<AllVersionsExpiration><Days>3</Days></AllVersionsExpiration>"), `rule "r"`, 0},
		"disabled":                     {strings.Replace(rule("r", everywhere, expire30), "Enabled", "Disabled", 1), "", 0},
		"elsewhere":                    {rule("r", below("other/"), expire30), "", 0},
		"a neighbour":                  {rule("r", below("some/prefix-2/"), expire30), "", 0},
		"for a tag":                    {rule("r", "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>", expire30), "", 0},
		"for tags":                     {rule("r", "<Filter><And><Prefix>some/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>", expire30), "", 0},
		"noncurrent versions":          {rule("r", everywhere, noncurrent), "", 7},
		"noncurrent versions, inside":  {rule("r", below("some/prefix/journals/"), noncurrent), "", 0},
		"noncurrent versions, moved":   {rule("r", everywhere, "<NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays><StorageClass>GLACIER</StorageClass></NoncurrentVersionTransition>"), "", 0},
		"parts of uploads":             {rule("r", everywhere, "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), "", 0},
		"markers of deleted objects":   {rule("r", everywhere, "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), "", 0},
		"noncurrent and current":       {rule("r", everywhere, noncurrent+expire30), "expires objects after 30 days", 7},
		"the soonest of three":         {rule("a", everywhere, strings.Replace(noncurrent, "7", "9", 1)) + rule("r", everywhere, noncurrent) + rule("b", everywhere, strings.Replace(noncurrent, "7", "8", 1)), "", 7},
		"noncurrent, but for a tag":    {rule("r", "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>", noncurrent), "", 0},
		"noncurrent, and is elsewhere": {rule("r", below("other/"), noncurrent), "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStub(t, settings(settingsOf("VersioningConfiguration", ""), replyS3(404, noLock), rules(c.rule)))
			p, err := objstore.ReadPolicy(t.Context(), open(t, s.Host(), "some/prefix"))
			if err != nil || len(p.Unread) != 0 {
				t.Fatalf("unread %v, error %v", p.Unread, err)
			}
			refusal := p.Check()
			if (refusal != nil) != (c.says != "") || refusal != nil && !errors.Is(refusal, objstore.ErrUnsafe) {
				t.Errorf("refusal %v", refusal)
			} else if refusal != nil && !strings.Contains(refusal.Error(), c.says) {
				t.Errorf("refusal %v, want %q in it", refusal, c.says)
			}
			if p.NoncurrentDays != c.days {
				t.Errorf("noncurrent versions stay for %d days, want %d", p.NoncurrentDays, c.days)
			}
		})
	}
}

func policyShowsVersionsAndLocks(t *testing.T, open Opener) {
	lock := func(rule string) http.HandlerFunc {
		return settingsOf("ObjectLockConfiguration", "<ObjectLockEnabled>Enabled</ObjectLockEnabled>"+rule)
	}
	retention := "<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>30</Days></DefaultRetention></Rule>"
	versioning := func(status string) http.HandlerFunc {
		return settingsOf("VersioningConfiguration", "<Status>"+status+"</Status>")
	}
	for name, c := range map[string]struct {
		versioning, lock http.HandlerFunc
		want             objstore.Versioning
		locked           string
		unread           int
		failed           bool
	}{
		"off":              {settingsOf("VersioningConfiguration", ""), replyS3(404, noLock), objstore.VersioningOff, "off", 0, false},
		"enabled":          {versioning("Enabled"), replyS3(404, noLock), objstore.VersioningEnabled, "off", 0, false},
		"suspended":        {versioning("Suspended"), replyS3(404, noLock), objstore.VersioningSuspended, "off", 0, false},
		"locked":           {versioning("Enabled"), lock(""), objstore.VersioningEnabled, "enabled", 0, false},
		"locked for long":  {versioning("Enabled"), lock(retention), objstore.VersioningEnabled, "COMPLIANCE for 30 days", 0, false},
		"denied":           {replyS3(403, "AccessDenied"), replyS3(403, "AccessDenied"), objstore.VersioningUnknown, "unknown", 2, false},
		"not implemented":  {replyS3(501, "NotImplemented"), replyS3(405, "MethodNotAllowed"), objstore.VersioningUnknown, "unknown", 2, false},
		"an unknown query": {replyS3(404, "NoSuchKey"), replyS3(400, "InvalidArgument"), objstore.VersioningUnknown, "unknown", 2, false},
		"busy":             {replyS3(503, "SlowDown"), replyS3(404, noLock), "", "", 0, true},
		"fails":            {versioning("Enabled"), replyS3(500, "InternalError"), "", "", 0, true},
		"drops":            {hangUp, replyS3(404, noLock), "", "", 0, true},
		"no bucket":        {replyS3(404, "NoSuchBucket"), replyS3(404, "NoSuchBucket"), "", "", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStub(t, settings(c.versioning, c.lock, replyS3(404, noRules)))
			p, err := objstore.ReadPolicy(t.Context(), open(t, s.Host(), ""))
			if (err != nil) != c.failed || p.Versioning != c.want || p.Lock != c.locked || len(p.Unread) != c.unread || p.Check() != nil {
				t.Errorf("got %+v, %v", p, err)
			}
			retains := c.want == objstore.VersioningEnabled || c.want == objstore.VersioningSuspended
			warnings := c.unread
			if retains {
				warnings++
			}
			if c.locked == "enabled" || strings.HasPrefix(c.locked, "COMPLIANCE") {
				warnings++
			}
			if p.Retains() != retains || len(p.Warnings()) != warnings {
				t.Errorf("retains: %v, warnings %q", p.Retains(), p.Warnings())
			}
		})
	}
}

// policyWithoutRights has credentials that may not read the rules: no one can say whether
// they are harmful, and that is no reason not to start.
func policyWithoutRights(t *testing.T, open Opener) {
	s := NewStub(t, settings(settingsOf("VersioningConfiguration", ""), replyS3(404, noLock), replyS3(403, "AccessDenied")))
	p, err := objstore.ReadPolicy(t.Context(), open(t, s.Host(), ""))
	if err != nil || len(p.Unread) != 1 || !errors.Is(p.Unread[0], objstore.ErrDenied) || p.Check() != nil {
		t.Errorf("got %+v, %v", p, err)
	}
	if w := p.Warnings(); len(w) != 1 || !strings.Contains(w[0], "lifecycle rules of bucket \"events\" cannot be read") {
		t.Errorf("warnings %q", w)
	}
}
