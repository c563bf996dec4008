package origin

import (
	"fmt"
	"testing"
)

func TestKept(t *testing.T) {
	k := newKept(100)
	object := func(size int) *made { return &made{data: make([]byte, size)} }
	for i := range 5 {
		k.put(fmt.Sprint(i), object(20))
	}
	first := k.get("0") // used again: "1" is the one to go
	k.put("0", object(90))
	k.put("5", object(20))
	if first == nil || k.get("0") != first || k.get("1") != nil || k.get("2") == nil || k.bytes != 100 {
		t.Errorf("after one more there are %d bytes, and %v", k.bytes, k.byKey)
	}
	k.put("big", object(500))
	if k.get("big") == nil || k.bytes != 500 || len(k.byKey) != 1 || k.order.Len() != 1 {
		t.Errorf("one that is too big: %d bytes, and %v", k.bytes, k.byKey)
	}
	k.put("6", object(1))
	if k.get("big") != nil || k.get("6") == nil || k.bytes != 1 {
		t.Errorf("after it: %d bytes, and %v", k.bytes, k.byKey)
	}
}
