package rtmp

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// create asks for a message stream and returns its id.
func create(t *testing.T, d *dialogue, tx float64) uint32 {
	t.Helper()
	replies, err := d.exchange(commandMessage(0, "createStream", tx, nil), true)
	if err != nil || len(replies) != 1 {
		t.Fatalf("createStream: %v, %v", replies, err)
	}
	reply, err := parseCommand(replies[0].body, 16)
	if err != nil {
		t.Fatal(err)
	}
	id, ok := reply.id(1)
	if !ok {
		t.Fatalf("createStream was answered with %+v", reply)
	}
	return id
}

// TestEngineRests lets the engine rest between commands: it goes on where it was, and once
// it has settled it stays.
func TestEngineRests(t *testing.T) {
	e := newEngines()
	defer e.close()
	d := &dialogue{engines: e}
	connect := commandMessage(0, "connect", 1, &object{props: []property{{"app", "kLive"}, {"type", "nonprivate"}}})
	if _, err := d.exchange(connect, true); err != nil {
		t.Fatal(err)
	}
	var ids []uint32
	for i := range 3 {
		ids = append(ids, create(t, d, float64(2+i)))
		d.rest()
		if d.engine != nil {
			t.Fatal("the engine does not rest")
		}
	}
	if diff := cmp.Diff([]uint32{1, 2, 3}, ids); diff != "" {
		t.Error(diff)
	}
	if _, err := d.exchange(commandMessage(2, "publish", 5, nil, "stream", "live"), true); err != nil {
		t.Fatal(err)
	}
	d.settle()
	if d.rest(); d.engine == nil || d.said != nil {
		t.Error("the engine rests although it has settled")
	}
	d.end()
}

// TestChattyEncoderKeepsItsEngine bounds what is kept for a rest.
func TestChattyEncoderKeepsItsEngine(t *testing.T) {
	e := newEngines()
	defer e.close()
	d := &dialogue{engines: e}
	defer d.end()
	connect := commandMessage(0, "connect", 1, &object{props: []property{{"app", "kLive"}, {"type", "nonprivate"}}})
	if _, err := d.exchange(connect, true); err != nil {
		t.Fatal(err)
	}
	for i := range maxSaid + 1 {
		if _, err := d.exchange(commandMessage(0, "FCPublish", float64(2+i), nil, "stream"), false); err != nil {
			t.Fatal(err)
		}
		if len(d.said) > maxSaid {
			t.Fatalf("%d commands are kept", len(d.said))
		}
	}
	d.rest()
	if !d.firm || d.engine == nil {
		t.Error("the engine rests although it can't be made anew")
	}
}
