package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestClusterBusTotalStop ends all bus nodes at once and starts two of them again: the broadcast
// goes on without the third. Then that one comes with an empty folder, and all streams get their
// third copy.
func TestClusterBusTotalStop(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: clusterSegments, gateways: 1, workers: 1, origins: 1})
	s := c.air("all bus nodes end, two come back")
	f := s.fault("SIGTERM to all bus nodes")
	var ending sync.WaitGroup
	for _, b := range c.buses {
		ending.Go(func() {
			if _, err := b.Terminate(20 * time.Second); err != nil {
				t.Error(err)
			}
		})
	}
	ending.Wait()
	eventually(t, 15*time.Second, "the gateway to say that the bus is away", func() error {
		if err := c.ready(t.Context(), c.gateways[0].admin); err != nil {
			return nil
		}
		return errSilent
	})
	begin := time.Now()
	c.buses[0].Relaunch()
	c.buses[1].Relaunch()
	s.await(1)
	f.Until = time.Now()
	s.table.Add("two bus nodes: a new segment after", time.Since(begin), "≤ 60s")
	for _, m := range c.roles() {
		m.WaitReady()
	}
	third := strings.TrimPrefix(c.busRoutes[2], "nats://")
	eventually(t, 15*time.Second, "a node that is ready to name the one it misses", func() error {
		if text := c.text("http://" + c.buses[0].admin + "/readyz"); !strings.HasPrefix(text, "ready, but not connected: "+third) {
			return fmt.Errorf("/readyz: %s", text)
		}
		return nil
	})
	if err := os.RemoveAll(filepath.Join(c.dir, c.buses[2].Name)); err != nil {
		t.Fatal(err)
	}
	c.buses[2].Relaunch()
	c.whole()
	s.await(2)
	if cs := s.encoder.Connects(); len(cs) != 1 {
		t.Errorf("the encoder noticed: %+v", cs)
	}
}

// text is what an address answers.
func (c *cluster) text(url string) string {
	resp, err := c.client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%s: %s", resp.Status, body)
	}
	return string(body)
}
