package rtmp

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var amfOptions = cmp.AllowUnexported(object{}, property{}, date{}, undefined{}, unsupported{})

func TestAMFRoundTrip(t *testing.T) {
	values := []any{
		"connect", 1.0, true, false, nil, undefined{}, unsupported{}, reference(7), xmlDocument("<x/>"),
		date{1.5e12, -60}, strings.Repeat("long", 20_000), "",
		&object{props: []property{{"app", "kLive"}, {"list", []any{"hvc1", 4.0, nil}}}},
		&object{class: "flex.Message", props: []property{{"a", 1.0}}},
		&object{array: true, props: []property{{"width", 640.0}, {"inner", &object{}}}},
		[]any{},
	}
	got, err := decodeAMF(appendAMF(nil, values...), 16)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(values, got, amfOptions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if b := appendAMF(nil, 3, struct{}{}); string(b) != string(appendAMF(nil, 3.0, undefined{})) {
		t.Errorf("int and unknown type: %x", b)
	}
}

func TestAMFMalformed(t *testing.T) {
	deep := func(n int) []byte {
		var b []byte
		for range n {
			b = append(b, amfStrictArray, 0, 0, 0, 1)
		}
		return append(b, amfNull)
	}
	for name, tc := range map[string]struct {
		in   []byte
		want error
	}{
		"number ends":            {[]byte{amfNumber, 1}, errAMF},
		"boolean ends":           {[]byte{amfBoolean}, errAMF},
		"string ends":            {[]byte{amfString, 0, 5, 'a'}, errAMF},
		"long string of 4 GB":    {[]byte{amfLongString, 0xff, 0xff, 0xff, 0xff}, errAMF},
		"date ends":              {append([]byte{amfDate}, make([]byte, 9)...), errAMF},
		"reference ends":         {[]byte{amfReference, 1}, errAMF},
		"array of 2^31":          {[]byte{amfStrictArray, 0x7f, 0xff, 0xff, 0xff}, errAMF},
		"array longer than rest": {[]byte{amfStrictArray, 0, 0, 0, 3, amfNull, amfNull}, errAMF},
		"object without end":     {[]byte{amfObject, 0, 1, 'a', amfNull}, errAMF},
		"property without name":  {[]byte{amfObject, 0, 0, amfNull}, errAMF},
		"typed object ends":      {[]byte{amfTypedObject, 0}, errAMF},
		"movie clip":             {[]byte{4}, errAMF},
		"record set":             {[]byte{0x0e}, errAMF},
		"AMF3":                   {[]byte{0x11}, errAMF},
		"end of nothing":         {[]byte{amfObjectEnd}, errAMF},
		"17 deep":                {deep(17), errAMFLimit},
		"4097 values":            {make([]byte, 0), errAMFLimit},
	} {
		if name == "4097 values" {
			for range 4097 {
				tc.in = append(tc.in, amfNull)
			}
		}
		if _, err := decodeAMF(tc.in, 16); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := decodeAMF(deep(16), 16); err != nil {
		t.Errorf("16 deep: %v", err)
	}
	// An array without its end is taken at the end of a message.
	got, err := decodeAMF([]byte{amfECMAArray, 0, 0, 0, 9, 0, 1, 'a', amfNull}, 16)
	if err != nil || got[0].(*object).props[0].key != "a" {
		t.Errorf("array without end: %v, %v", got, err)
	}
}
