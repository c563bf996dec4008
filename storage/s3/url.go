package s3

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"klive/storage"
)

// maxPrefix leaves room for a key in the 1024 bytes that S3 allows.
const maxPrefix = 1024 - storage.MaxKey - 1

// place is where a store's objects lie.
type place struct {
	bucket    string
	prefix    string // "" or ends with "/"
	region    string // "" when the address names none
	endpoint  string // "" means Amazon's
	pathStyle bool   // the bucket is in the path and not in the host's name
}

// parseURL reads s3://bucket/prefix?region=eu-west-1&endpoint=http://host:9000&pathStyle=true.
// With an endpoint, pathStyle is true unless it says otherwise.
func parseURL(text string) (place, error) {
	p, err := parsePlace(text)
	if err != nil {
		return place{}, fmt.Errorf("storage: s3: the address of the bucket (storage.url) %w; "+
			"want s3://bucket/prefix?region=eu-west-1, for another store than Amazon's with &endpoint=https://host", err)
	}
	return p, nil
}

func parsePlace(text string) (place, error) {
	u, err := url.Parse(text)
	if err != nil {
		return place{}, errors.New("can't be read") // the text may hold a password
	}
	switch {
	case u.Scheme != "s3" || u.Opaque != "":
		return place{}, errors.New("does not begin with s3://")
	case u.User != nil:
		return place{}, errors.New("holds credentials, which belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the host's role")
	case u.Host == "" || strings.ContainsAny(u.Host, ":/"):
		return place{}, fmt.Errorf("has no bucket's name in %.80q", u.Host)
	}
	p := place{bucket: u.Host}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		if storage.CheckKey(prefix) != nil || len(prefix) > maxPrefix {
			return place{}, fmt.Errorf("has the prefix %.80q, which can't begin keys", prefix)
		}
		p.prefix = prefix + "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return place{}, errors.New("has settings that can't be read")
	}
	if err := p.set(query); err != nil {
		return place{}, err
	}
	return p, nil
}

// set reads the settings behind the question mark.
func (p *place) set(query url.Values) error {
	for name, values := range query {
		value := values[len(values)-1]
		switch name {
		case "region":
			p.region = value
		case "endpoint":
			u, err := url.Parse(value)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
				return errors.New("has an endpoint that is not http://host:port or https://host:port")
			}
			p.endpoint = strings.TrimSuffix(value, "/")
		case "pathStyle":
		default:
			return fmt.Errorf("has the setting %.40q; there are region, endpoint and pathStyle", name)
		}
	}
	p.pathStyle = p.endpoint != ""
	if text := query.Get("pathStyle"); text != "" {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("has pathStyle=%.40q, which is neither true nor false", text)
		}
		p.pathStyle = on
	}
	return nil
}

// String names the place in logs and errors.
func (p place) String() string {
	if p.endpoint != "" {
		return "s3://" + p.bucket + "/" + p.prefix + " at " + p.endpoint
	}
	return "s3://" + p.bucket + "/" + p.prefix
}
