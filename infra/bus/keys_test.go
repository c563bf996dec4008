package bus

import (
	"regexp"
	"testing"

	"pgregory.net/rapid"
)

func TestKeysSurviveTheWire(t *testing.T) {
	allowed := regexp.MustCompile(`^[-/_=.a-zA-Z0-9]+$`)
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.OneOf(rapid.StringN(1, 8, 12), rapid.SampledFrom([]string{"*", ">", "=", "=2A", "0_abc", "\x00", " ", "\xff"}))
		key := one.Filter(func(s string) bool { return s != "" && !regexp.MustCompile(`\.`).MatchString(s) })
		a := key.Draw(t, "first") + "." + key.Draw(t, "second")
		wire, err := encodeKey(a)
		if err != nil {
			t.Fatalf("%q: %v", a, err)
		}
		if !allowed.MatchString(wire) {
			t.Fatalf("%q becomes %q, which the server refuses", a, wire)
		}
		if back := decodeKey(wire); back != a {
			t.Fatalf("%q becomes %q and comes back as %q", a, wire, back)
		}
	})
}

func FuzzDecodeKey(f *testing.F) {
	for _, s := range []string{"", "a.b", "=", "=2", "=2A", "=zz", "a=2E=2Eb", "=\xff\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		if key := decodeKey(wire); len(key) > len(wire) {
			t.Errorf("%q grew to %q", wire, key)
		}
	})
}
