package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// checkForm holds text against the form that a key's "is" tag names. Empty text passes:
// whether a key may be empty is the cross-field checks' business.
func checkForm(form, text string) error {
	if text == "" && form != "word" && form != "path" && form != "digits" {
		return nil
	}
	switch form {
	case "listen":
		return checkListen(text)
	case "http":
		return checkURL(text, "http", "https")
	case "rtmp":
		return checkRTMP(text)
	case "nats":
		for one := range strings.SplitSeq(text, ",") {
			if err := checkURL(strings.TrimSpace(one), "nats", "tls"); err != nil {
				return err
			}
		}
		return nil
	case "public":
		_, err := WebRTC{PublicAddress: text}.Public()
		return err
	case "ice":
		return checkICE(text)
	case "storage":
		return checkStorage(text)
	case "host":
		return matches(text, hostForm, "want a host name such as media1.example.com")
	case "ranges":
		for one := range strings.SplitSeq(text, ",") {
			if _, err := netip.ParsePrefix(strings.TrimSpace(one)); err != nil {
				return errors.New("want address ranges such as 10.0.0.0/16, with commas between them")
			}
		}
		return nil
	case "header":
		return matches(text, wordForm, "want the name of a header, such as X-Shield")
	case "word":
		return matches(text, wordForm, "want letters, digits, '-' and '_'")
	case "digits":
		return matches(text, digitsForm, `want digits, such as "01"`)
	case "partners":
		_, err := parsePartners(text)
		return err
	case "node":
		return matches(text, nodeForm, "want letters, digits, '.', '-' and '_'")
	case "path":
		if text == "" {
			return errors.New("want the path of a folder")
		}
	}
	return nil
}

var (
	hostForm = regexp.MustCompile(`^[0-9A-Za-z]([0-9A-Za-z_.-]{0,251}[0-9A-Za-z])?$`)
	wordForm = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	// digitsForm is a set of digits.
	digitsForm = regexp.MustCompile(`^[0-9]{1,10}$`)
	nodeForm   = regexp.MustCompile(`^[0-9A-Za-z._-]{1,128}$`)
)

func matches(text string, form *regexp.Regexp, want string) error {
	if form.MatchString(text) {
		return nil
	}
	return errors.New(want)
}

var errListen = errors.New(`want "host:port" or ":port" with a port from 0 to 65535, or "" for off`)

func checkListen(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return errListen
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errListen
	}
	return nil
}

func checkURL(text string, schemes ...string) error {
	want := fmt.Errorf("want an address that begins with %s://", strings.Join(schemes, ":// or "))
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return want
	}
	if !slices.Contains(schemes, u.Scheme) {
		return want
	}
	return nil
}

// splitList takes a list apart at its commas; empty elements are none.
func splitList(text string) []string {
	var out []string
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			out = append(out, one)
		}
	}
	return out
}

func checkRTMP(text string) error {
	if err := checkURL(text, "rtmp", "rtmps"); err != nil {
		return err
	}
	if u, _ := url.Parse(text); strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return errors.New("want scheme, host and port alone, such as rtmp://live.example.com:1935; the application is rtmp.app")
	}
	return nil
}

func checkStorage(text string) error {
	want := errors.New(`want "file:///absolute/path", "s3://bucket/prefix?region=…&endpoint=…", or "" for a folder under data`)
	u, err := url.Parse(text)
	if err != nil {
		return want
	}
	switch u.Scheme {
	case "file":
		if u.Host == "" && strings.HasPrefix(u.Path, "/") {
			return nil
		}
	case "s3":
		if u.Host != "" {
			return checkBucket(u)
		}
	}
	return want
}

// checkBucket holds the settings in a bucket's address against those that there are.
func checkBucket(u *url.URL) error {
	if u.User != nil {
		return errors.New("holds credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the host a role")
	}
	for key, values := range u.Query() {
		value := values[len(values)-1]
		switch key {
		case "region":
			if value == "" {
				return errors.New("has an empty region; want one such as eu-west-1")
			}
		case "endpoint":
			if err := checkURL(value, "http", "https"); err != nil {
				return fmt.Errorf("endpoint: %w", err)
			}
		case "pathStyle":
			if _, err := strconv.ParseBool(value); err != nil {
				return errors.New("pathStyle: want true or false")
			}
		default:
			return fmt.Errorf("has the setting %.40q; there are region, endpoint and pathStyle", key)
		}
	}
	return nil
}

// loopback reports whether a listener can be reached from this host only.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
