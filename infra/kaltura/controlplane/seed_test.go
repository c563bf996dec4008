package controlplane

import (
	"sync"
	"testing"

	"klive/infra/kaltura"
)

func TestSeedKeepsWhatItDrew(t *testing.T) {
	ctx, m := t.Context(), newMemory()
	begin := func(c Config) *Server {
		c.State = m
		s, err := New(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		return s
	}
	first, err := begin(Config{}).AdminSecret(ctx, DemoPartner)
	if err != nil || len(first) != 32 {
		t.Fatalf("drawn secret has %d characters, %v", len(first), err)
	}
	server, _ := begin(Config{}).AdminSecret(ctx, kaltura.MediaServerPartner)
	if again, _ := begin(Config{}).AdminSecret(ctx, DemoPartner); again != first || server == first || len(server) != 32 {
		t.Error("a second start drew other secrets")
	}
	s := begin(Config{Secret: "configured"})
	if got, _ := s.AdminSecret(ctx, DemoPartner); got != "configured" {
		t.Error("a configured secret did not replace the drawn one")
	}
	if err := m.Delete(ctx, entryKey(DemoEntry), 0); err != nil {
		t.Fatal(err)
	}
	s = begin(Config{})
	if _, err := load[entryDoc](ctx, m, entryKey(DemoEntry)); err == nil {
		t.Error("the demonstration entry came back although it was deleted")
	}
	if got, _ := s.AdminSecret(ctx, DemoPartner); got != "configured" {
		t.Error("the replaced secret was not kept")
	}
}

func TestSeedByTwoServersAtOnce(t *testing.T) {
	ctx, m := t.Context(), newMemory()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := New(ctx, Config{State: m, Secret: "s"})
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	wg.Wait()
	doc, err := load[entryDoc](ctx, m, entryKey(DemoEntry))
	if err != nil || doc.Entry.StreamPassword != DemoToken || len(doc.Assets) != 3 || doc.Entry.DVRWindow != 120 || doc.Entry.RecordStatus != 1 {
		t.Errorf("demonstration entry %+v, %v", doc, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := New(t.Context(), Config{}); err == nil {
		t.Error("a server without state started")
	}
	if _, err := New(t.Context(), Config{State: newMemory(), Generation: "1999"}); err == nil {
		t.Error("an unknown generation started")
	}
}
