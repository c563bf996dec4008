package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// set reads text as the value of key k and puts it into c. The error says what would be
// right and shows no secret.
func set(c *Config, k Key, text string) error {
	v := k.field(c)
	switch v.Interface().(type) {
	case Secret:
		s, err := resolveSecret(text)
		if err != nil {
			return err
		}
		v.SetString(string(s))
		return nil
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration; want one such as %q", clip(text), k.field(Default()).Interface())
		}
		return setNumber(v, k, int64(d))
	case Size:
		n, err := ParseSize(text)
		if err != nil {
			return fmt.Errorf("%q: %w", clip(text), err)
		}
		return setNumber(v, k, int64(n))
	}
	switch v.Kind() {
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no whole number; want one %s", clip(text), bounds(k))
		}
		return setNumber(v, k, n)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q: want true or false", clip(text))
		}
		v.SetBool(text == "true")
		return nil
	default:
		return setText(v, k, text)
	}
}

func setText(v reflect.Value, k Key, text string) error {
	if words := k.tag.Get("oneof"); words != "" {
		valid := strings.Split(words, ",")
		if !slices.Contains(valid, text) {
			return fmt.Errorf("%q: want one of %s", clip(text), strings.Join(valid, ", "))
		}
	}
	if err := checkForm(k.tag.Get("is"), text); err != nil {
		return fmt.Errorf("%q: %w", clip(text), err)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		return errors.New("the text holds a control character")
	}
	v.SetString(text)
	return nil
}

func setNumber(v reflect.Value, k Key, n int64) error {
	lo, hi := limits(v, k)
	if n < lo || n > hi {
		return fmt.Errorf("%v is out of bounds; want one %s", show(v, n), bounds(k))
	}
	v.SetInt(n)
	return nil
}

// limits reads the min and max tags in the field's own unit.
func limits(v reflect.Value, k Key) (lo, hi int64) {
	read := func(text string) int64 {
		switch v.Interface().(type) {
		case time.Duration:
			d, _ := time.ParseDuration(text)
			return int64(d)
		case Size:
			n, _ := ParseSize(text)
			return int64(n)
		default:
			n, _ := strconv.ParseInt(text, 10, 64)
			return n
		}
	}
	return read(k.tag.Get("min")), read(k.tag.Get("max"))
}

func bounds(k Key) string {
	return fmt.Sprintf("from %s to %s", k.tag.Get("min"), k.tag.Get("max"))
}

// show writes n in the field's own unit.
func show(v reflect.Value, n int64) any {
	return reflect.ValueOf(n).Convert(v.Type()).Interface()
}

// clip makes a wrong value fit to be shown: not too long, and without the user and
// password of an address.
func clip(text string) string {
	const most = 60
	text = hideUser(text)
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

var userPart = regexp.MustCompile(`//[^/\s]*@`)

// hideUser hides the user and password of an address: "nats://[secret]@host".
func hideUser(text string) string {
	return userPart.ReplaceAllString(text, "//[secret]@")
}
