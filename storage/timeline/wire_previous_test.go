//go:build previous

package timeline

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPreviousForms holds the forms to those of the release before this one.
func TestPreviousForms(t *testing.T) {
	news := [][]byte{[]byte("held"), []byte("from"), []byte("initSum")}
	for _, r := range []Record{
		&Stored{Seq: 3, Media: []Media{{Rendition: "0_e_32", Name: "1-1", Held: true, From: 9}, {Rendition: "0_e_a1", Name: "1-1", Stored: true, From: 9}}},
		&Described{Rendition: Rendition{Name: "0_e_32", InitSum: "a"}},
		&Adopted{Item: Item{Media: []Media{{Rendition: "0_e_32", Held: true, From: 9}}}},
	} {
		b, err := Envelope{Epoch: 1, ID: "a", Record: r}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range news {
			if bytes.Contains(b, append(append([]byte{'"'}, word...), '"')) {
				t.Errorf("%T is written with %q: %s", r, word, b)
			}
		}
	}
	e, err := UnmarshalEnvelope([]byte(`{"v":1,"epoch":1,"prev":0,"id":"a","type":"stored","rec":{"seq":3,` +
		`"media":[{"r":"0_e_a1","name":"1-1","duration":0,"stored":true,"from":9}],"held":[{"r":"0_e_32","duration":0}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Stored{Seq: 3, Media: []Media{{Rendition: "0_e_a1", Name: "1-1", Stored: true}}}
	if diff := cmp.Diff(Record(want), e.Record); diff != "" {
		t.Errorf("a newer record reads (-want +got):\n%s", diff)
	}
}
