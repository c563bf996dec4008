package e2e

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
	"klive/infra/publisher"
)

// beside lets a test that mostly waits run beside others. At their stated
// length, where times are measured, tests run alone. So do, always, those in virtual
// time: the bus's client library keeps timers for all who use it (see bustest.Prepare).
func beside(t *testing.T) {
	if !proving() {
		t.Parallel()
	}
}

// show is one broadcast on a cluster that things are done to, with those who watch it.
type show struct {
	t       testing.TB
	c       *cluster
	entry   entry
	encoder *check.Light
	viewers []*check.Viewer
	faults  []check.Fault
	table   *check.Table
	promise *check.Promise
	pauses  *pauses
}

// settled is how many segments viewers have seen before the first fault.
const settled = 4

// air puts the demo entry on the air and waits until all viewers have seen some segments.
func (c *cluster) air(title string) *show {
	c.t.Helper()
	urls := make([]string, len(c.gateways))
	for i, g := range c.gateways {
		urls[i] = g.ingest(demo, 0)
	}
	return c.airAt(title, urls...)
}

func (c *cluster) airAt(title string, urls ...string) *show {
	c.t.Helper()
	s := &show{t: c.t, c: c, entry: demo, table: &check.Table{Title: title}, promise: promised(c.t), pauses: measurePauses(c.t)}
	s.encoder = lightEncoder(c.t, urls...)
	s.viewers = c.watch(s.entry)
	s.await(settled)
	c.t.Cleanup(func() { c.t.Log(s.table) })
	return s
}

// lightEncoder starts an encoder on some gateways; it ends with the test.
func lightEncoder(t testing.TB, urls ...string) *check.Light {
	t.Helper()
	e, err := check.StartLight(check.LightConfig{Clip: demoClip(t, publisher.Synthetic{GOP: clusterGOP, BFrames: 2}), URLs: urls})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}

// Tests that are not held to their stated length have short segments, in a window that lasts as
// long as the usual one.
var (
	clusterGOP      = length(2*time.Second, time.Second)
	clusterSegments = []string{"segment.duration=" + length(4*time.Second, time.Second).String(), fmt.Sprintf("hls.window=%d", length(5, 20))}
)

// recordedSoon has files appended on the way, and the rest soon after the broadcast's end.
var recordedSoon = []string{
	"broadcast.resume=" + length(30*time.Second, 15*time.Second).String(), "recording.segment=" + length(2*time.Minute, 10*time.Second).String(),
	"recording.scan=1s", "control.sweep=1s",
}

// await waits until each viewer has seen n more segments.
func (s *show) await(n uint64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	from := make([]uint64, len(s.viewers))
	for i, v := range s.viewers {
		from[i], _ = v.Last()
	}
	for i, v := range s.viewers {
		if err := v.WaitFor(ctx, from[i]+n); err != nil {
			s.t.Fatalf("%v\nlast failures: %v\nconnects: %+v\nrefused: %v", err, last(v.Failures(), 3), s.encoder.Connects(), last(s.encoder.Refused(), 3))
		}
	}
}

// inTime waits until the live edge has recovered from the last fault.
func (s *show) inTime() {
	s.t.Helper()
	s.await(1)
	s.eventually(time.Minute, "the live edge to be in time again", func() error {
		items, err := check.Both(s.viewers...)
		if _, ok := check.Recovered(items, s.faults); err == nil && !ok {
			err = errors.New("the newest segments came late")
		}
		return err
	})
}

func last[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

// fault notes that something is done now.
func (s *show) fault(format string, args ...any) *check.Fault {
	s.faults = append(s.faults, check.Fault{Name: fmt.Sprintf(format, args...), At: time.Now()})
	return &s.faults[len(s.faults)-1]
}

// during does something that lasts.
func (s *show) during(d time.Duration, name string, begin, end func()) {
	s.t.Helper()
	f := s.fault("%s", name)
	f.Until = f.At.Add(d)
	begin()
	time.Sleep(time.Until(f.Until))
	end()
}

// stalls measures each viewer, and one who follows all origins, against a limit and what a busy machine adds to it.
func (s *show) stalls(limit time.Duration) {
	s.t.Helper()
	allowance := s.pauses.allowance()
	s.table.Add("allowance for the machine's own pauses", allowance, "")
	limit += allowance
	measure := func(name string, items []check.Item) {
		m := check.MeasureStalls(items, s.faults)
		s.table.AddStalls(name, m, "≤ "+limit.String())
		if m.Items < settled || m.Worst.By > limit {
			s.t.Errorf("%s: of %d segments, segment %d was %v late (%s), want at most %v", name, m.Items, m.Worst.Seq, m.Worst.By, m.Worst.Fault, limit)
		}
	}
	for _, v := range s.viewers {
		measure(v.Name, v.Items())
		s.table.Add(v.Name+": slowest fetch of a segment", v.SlowestFetch(), "")
	}
	both, err := check.Both(s.viewers...)
	if err != nil {
		s.t.Error(err)
	}
	measure("both", both)
	s.promise.Stall = max(0, check.MeasureStalls(both, s.faults).Worst.By)
	if d, ok := check.Recovered(both, s.faults); ok {
		s.promise.Recovery = d
	}
}

// finish stops the encoder, waits until all that it sent can be read in the DVR window of
// each origin, and holds viewers, window and bucket to the rules. Of the frames only those
// may be missing that the encoder had written to a connection that broke; it returns them.
func (s *show) finish() (atBreaks int) {
	s.t.Helper()
	s.encoder.Stop()
	sent, connects := s.encoder.Sent(), s.encoder.Connects()
	for _, o := range s.c.origins {
		f := s.archive(o.Name, o.playlist(s.entry.ID, true), sent)
		atBreaks = s.hold(o.Name+" DVR", f, sent, connects)
		s.stored(f)
	}
	for _, v := range s.viewers {
		v.Stop()
		if err := v.Err(); err != nil {
			s.t.Error(err)
		}
	}
	s.table.Add("encoder: connections", len(connects), "")
	s.table.Add("encoder: latest unit behind its moment", s.encoder.Late(), "")
	return atBreaks
}

// archive reads a DVR window once the newest frames are in it.
func (s *show) archive(name, address string, sent []check.Sent) *check.Follower {
	s.t.Helper()
	var f *check.Follower
	var err error
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		f, err = check.Archive(context.Background(), s.c.client, address)
		if err == nil {
			if a := f.Audit(sent); a.Video.Tail+a.Audio.Tail == 0 {
				return f
			}
		}
		if time.Now().After(end) {
			break
		}
	}
	if f == nil {
		s.t.Fatalf("%s: the DVR window can't be read: %v", name, err)
	}
	s.t.Errorf("%s: the newest frames don't come: %v\n%v", name, err, f.Audit(sent))
	return f
}

// hold audits the frames and items of a window.
func (s *show) hold(name string, f *check.Follower, sent []check.Sent, connects []check.Connect) (atBreaks int) {
	s.t.Helper()
	a := f.Audit(sent)
	s.table.AddAudit(name, a)
	for _, k := range []struct {
		kind media.Kind
		check.TrackAudit
	}{{media.Video, a.Video}, {media.Audio, a.Audio}} {
		breaks, others := check.Unsent(sent, k.kind, k.Lost, connects)
		s.promise.Lost, s.promise.Doubled = max(0, s.promise.Lost)+len(others), max(0, s.promise.Doubled)+len(k.Doubled)
		if k.Sent == 0 || len(others)+len(k.Doubled)+len(k.Disordered)+k.Unknown > 0 {
			s.t.Errorf("%s, %v: not each frame once, in order (%d lost without reason):\n%v", name, k.kind, len(others), a)
		}
		if len(breaks) > 0 {
			s.table.Add(fmt.Sprintf("%s %v: not sent again by the encoder", name, k.kind), len(breaks), "")
		}
		atBreaks = max(atBreaks, len(breaks))
	}
	for path, r := range f.Renditions {
		if err := check.Continuous(r.Items); err != nil {
			s.t.Errorf("%s, %s: %v", name, path, err)
		}
		if len(r.Items) > 0 && r.Items[0].Seq != 1 {
			s.t.Errorf("%s, %s: the window begins with segment %d", name, path, r.Items[0].Seq)
		}
	}
	return atBreaks
}

// stored waits until each segment of a window lies in the bucket, the same bytes.
func (s *show) stored(f *check.Follower) {
	s.t.Helper()
	for path, r := range f.Renditions {
		for _, it := range r.Items {
			key := filepath.Join(filepath.Dir(path), it.URI)
			file := filepath.Join(s.c.bucketDir, "klive", key)
			s.eventually(30*time.Second, key+" in the bucket", func() error {
				_, err := os.Stat(file)
				return err
			})
			served, err := s.fetch(s.c.origins[0], key)
			rests, err2 := os.ReadFile(file)
			if err := errors.Join(err, err2); err != nil {
				s.t.Error(err)
			} else if sha256.Sum256(served) != sha256.Sum256(rests) {
				s.t.Errorf("%s: the origin serves %d bytes that are not the %d of the bucket", key, len(served), len(rests))
			}
		}
	}
}

// vod waits until the broadcast is recorded to its end, and holds that it is one VOD with each frame
// once, but those that may be missing for viewers too.
func (s *show) vod() {
	s.t.Helper()
	var r *recorded
	s.eventually(5*time.Minute, "the whole broadcast in one VOD", func() error {
		if r = recordings(s.c.client, s.c.control.admin, adminToken).of(s.entry.ID); !r.over() {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	var paths []string
	for _, f := range r.Recordings {
		if f.Lost > 0 {
			s.t.Errorf("%s lacks %d segments", f.File, f.Lost)
		}
		paths = append(paths, s.c.recordedFile(f.Key))
	}
	sent, connects := s.encoder.Sent(), s.encoder.Connects()
	pictures := auditFiles(s.t, paths, sent, func(kind media.Kind, lost []uint64) []uint64 {
		_, others := check.Unsent(sent, kind, lost, connects)
		return others
	})
	joined, _, _ := packetsOf(s.t, fetchVOD(s.t, s.c.client, s.c.control.admin, adminToken, r.VODs[0].Flavors[0].Path))
	if len(joined) != pictures {
		s.t.Errorf("the VOD has %d pictures, its %d files %d", len(joined), len(paths), pictures)
	}
	s.table.Add("recorded: pictures in one VOD", pictures, "")
}

func (s *show) fetch(m *member, path string) ([]byte, error) {
	resp, err := s.c.client.Get("http://" + m.http + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// eventually polls until ok returns nil; it fails the test when time runs out.
func (s *show) eventually(patience time.Duration, what string, ok func() error) {
	s.t.Helper()
	eventually(s.t, patience, what, ok)
}

func eventually(t testing.TB, patience time.Duration, what string, ok func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the test waited in vain for %s: %v", what, err)
		}
	}
}

// bucketServer serves the bucket's files as a CDN does that reads it directly.
func (c *cluster) bucketServer() *httptest.Server {
	return httptest.NewServer(http.FileServer(http.Dir(filepath.Join(c.bucketDir, "klive"))))
}

// checkArchive is [check.Archive] without patience.
func checkArchive(client *http.Client, address string) (*check.Follower, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return check.Archive(ctx, client, address)
}
