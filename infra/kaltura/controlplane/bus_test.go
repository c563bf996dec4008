package controlplane

import (
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// bucket opens a bucket of a real node, as klive serve does.
func bucket(t testing.TB) *bus.Bucket {
	t.Helper()
	node, err := bus.StartNode(t.Context(), bus.NodeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	b, err := node.Control().Bucket(t.Context(), bus.BucketConfig{Name: "control", MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOnTheBus runs a broadcast and a restart on a bucket of the bus.
func TestOnTheBus(t *testing.T) {
	b := bucket(t)
	files := newFolder()
	config := Config{State: b, Files: files, Secret: testSecret, MediaServerSecret: serverSecret, PublicHost: "live.example.com"}
	s, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Server: s, t: t}
	has(t, f.register(0, "ms1", kaltura.StatusPlayable), `"liveStatus":1`)
	has(t, f.live(), "true")
	session := ks(102, kaltura.SessionAdmin)
	has(t, f.formAs(session, "", "liveStream.add", "format", "1", "liveStreamEntry:name", "second"), `"name":"second"`)
	has(t, f.formAs(session, "", "liveStream.list", "format", "1"), `"totalCount":2`)
	uploader, err := kaltura.SignV1(testSecret, kaltura.KS{PartnerID: 102, Expiry: time.Now().Unix() + 600, Type: kaltura.SessionAdmin, UserID: "uploader"})
	if err != nil {
		t.Fatal(err)
	}
	token := f.newToken(uploader)
	half := partText{name: "finalChunk", value: "0"}
	upload := "/api_v3/service/uploadToken/action/upload/format/1/uploadTokenId/" + token + "/ks/" + uploader
	has(t, f.body(f.multipart(upload, half, partText{name: "fileData", file: "a", value: "first "})), `"status":1`)
	nodeID := value(f.form("entryServerNode.list", "format", "1", "filter:entryIdEqual", DemoEntry), "id")
	if got := f.formAs(session, "", "session.end", "format", "1"); got != "null" {
		t.Errorf("session.end: %s", got)
	}
	has(t, f.formAs(session, "", "liveStream.list", "format", "1"), `"code":"INVALID_KS"`)
	s.Close()

	if s, err = New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f = &fixture{Server: s, t: t}
	has(t, f.live(), "true")
	has(t, f.form("entryServerNode.get", "format", "1", "id", nodeID), `"entryId":"0_demolive"`)
	has(t, f.body(f.multipart(upload+"/resume/1", partText{name: "fileData", file: "a", value: "second"})), `"status":2`, `"uploadedFileSize":12`)
	has(t, f.unregister(0, "ms1"), `"liveStatus":0`)
	has(t, f.form("flavorAsset.list", "format", "1", "filter:entryIdEqual", DemoEntry), `"totalCount":3`)
}

func BenchmarkRegister(b *testing.B) {
	s, err := New(b.Context(), Config{State: bucket(b), Secret: testSecret, MediaServerSecret: serverSecret})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	params := kaltura.ToNode(struct {
		Service string `json:"service"`
		Action  string `json:"action"`
		KS      string `json:"ks"`
		Partner int    `json:"partnerId"`
		Entry   string `json:"entryId"`
		Host    string `json:"hostname"`
		Index   int    `json:"mediaServerIndex"`
	}{"liveStream", "registerMediaServer", ks(-5, 2), 102, DemoEntry, "ms1", 0})
	for b.Loop() {
		if r := s.run(b.Context(), origin{}, params, nil); r.err != nil {
			b.Fatal(r.err)
		}
	}
}
