package workers

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/storage/timeline"
)

// fault is one thing that happens to one of the workers.
type fault struct {
	After  time.Duration // since the one before
	Kind   string
	Victim int
	For    time.Duration
}

func (f fault) String() string {
	return fmt.Sprintf("after %v %s worker %d for %v", f.After, f.Kind, f.Victim, f.For)
}

// plan is one run of the property test.
type plan struct {
	Workers int
	Noise   float64
	Faults  []fault
}

func drawPlan(t *rapid.T) plan {
	ms := func(lo, hi int, what string) time.Duration {
		return time.Duration(rapid.IntRange(lo, hi).Draw(t, what)) * time.Millisecond
	}
	p := plan{Workers: rapid.IntRange(2, 3).Draw(t, "workers"), Noise: rapid.SampledFrom([]float64{0, 0.1, 0.3}).Draw(t, "noise")}
	for range rapid.IntRange(1, 6).Draw(t, "faults") {
		p.Faults = append(p.Faults, fault{
			After: ms(200, 12_000, "after"), Kind: rapid.SampledFrom([]string{"kill", "pause", "cut", "drain", "pause owner", "kill owner", "cut owner", "drain owner"}).Draw(t, "kind"),
			Victim: rapid.IntRange(0, 2).Draw(t, "victim"), For: ms(300, 20_000, "for"),
		})
	}
	return p
}

// TestOwnership lets workers be killed, stopped, cut off and ended while their store and log
// lose answers, and holds what is left against what must be.
func TestOwnership(t *testing.T) {
	check.Checks(t, 6, 250)
	bustest.Prepare(t)
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = p.run(t) })
		if len(wrong) > 0 {
			rt.Fatalf("%+v\n%s", p, strings.Join(wrong, "\n"))
		}
	})
}

// run plays the plan and returns what went wrong.
func (p plan) run(t *testing.T) (wrong []string) {
	w := newWorld(t)
	defer w.ring.Close()
	r := &runner{world: w, plan: p}
	for i := range p.Workers {
		r.slots = append(r.slots, w.start(fmt.Sprintf("w%d-0", i)))
		r.slots[i].setNoise(p.Noise)
	}
	on := 30 * time.Second
	for _, f := range p.Faults {
		on += f.After + f.For/2
	}
	published := make(chan struct{})
	go func() { defer close(published); w.publish(1, on) }()
	time.Sleep(6 * time.Second)
	for i, f := range p.Faults {
		time.Sleep(f.After)
		r.play(i, f)
	}
	r.heal()
	<-published
	r.ended = time.Now()
	time.Sleep(4 * time.Minute)
	for _, x := range r.slots {
		x.stop()
	}
	for _, x := range w.procs {
		<-x.done
	}
	r.check()
	return r.wrong
}

// runner plays one plan.
type runner struct {
	*world
	plan  plan
	slots []*process // the newest process of each worker
	ended time.Time  // when the encoder stopped
	alone bool       // a worker ended that may have found itself alone
	wrong []string
}

func (r *runner) say(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// play lets one fault happen, unless it would leave no healthy worker.
func (r *runner) play(n int, f fault) {
	victim := f.Victim % len(r.slots)
	kind, ofOwner := strings.CutSuffix(f.Kind, " owner")
	if ofOwner {
		if i := slices.IndexFunc(r.slots, func(p *process) bool { return p.name == r.holder() }); i >= 0 {
			victim = i
		}
	}
	p := r.slots[victim]
	others := slices.ContainsFunc(r.slots, func(q *process) bool { return q != p && q.healthy() })
	if !p.healthy() || !others {
		return
	}
	owner, began := r.holder() == p.name, time.Now()
	inTime := slices.ContainsFunc(r.slots, func(q *process) bool { return q != p && q.settled() })
	switch kind {
	case "kill":
		for _, q := range r.slots {
			q.setNoise(0) // what the store does is not to be measured here
		}
		p.kill()
		if time.Sleep(3 * time.Second); owner && inTime {
			r.tookOver(p, began, 3*time.Second)
		}
		r.restart(victim, n)
	case "drain":
		r.alone = r.alone || !inTime // it may not know of the others
		inTime = inTime && p.settled() && r.plan.Noise == 0
		p.stop()
		if d := p.ended.Sub(began); inTime && d > 5*time.Second {
			r.say("%s took %v to end", p.name, d)
		}
		r.restart(victim, n)
	case "pause":
		p.pause()
		time.AfterFunc(f.For, p.resume)
		time.Sleep(f.For / 2)
	case "cut":
		p.part()
		time.AfterFunc(f.For, p.join)
		time.Sleep(f.For / 2)
	}
}

// restart puts a new process in the place of one that has gone.
func (r *runner) restart(slot, n int) {
	r.slots[slot] = r.start(fmt.Sprintf("w%d-%d", slot, n+1))
	r.slots[slot].setNoise(r.plan.Noise)
}

// heal ends all faults.
func (r *runner) heal() {
	for _, p := range r.slots {
		p.resume()
		p.join()
		p.setNoise(0)
	}
}

// heads are the versions of the timeline's head.
func (r *runner) heads() (out []version, states []*timeline.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.versions {
		if v.key != timeline.HeadKey(entry) {
			continue
		}
		var h struct {
			State *timeline.State `json:"state"`
		}
		if err := json.Unmarshal([]byte(v.text), &h); err != nil || h.State == nil {
			r.say("a head that can't be read: %v", err)
			continue
		}
		out, states = append(out, v), append(states, h.State)
	}
	return out, states
}

// tookOver checks that another worker claimed the entry soon after its owner was killed.
func (r *runner) tookOver(victim *process, killed time.Time, within time.Duration) {
	versions, _ := r.heads()
	for _, v := range versions {
		if v.by != victim.name && v.at.After(killed) && v.at.Sub(killed) <= within {
			return
		}
	}
	r.say("nobody took over within %v after %s was killed", within, victim.name)
}

// check holds everything that was written against the rules.
func (r *runner) check() {
	names := r.checkHeads()
	r.checkPlaylists(names)
	r.checkFinal(names)
	r.checkCalls()
}

// checkHeads returns the name of the media of each sequence number.
func (r *runner) checkHeads() map[uint64]string {
	versions, states := r.heads()
	names := map[uint64]string{}
	for i, s := range states {
		if i > 0 && (s.Epoch < states[i-1].Epoch || s.NextSeq < states[i-1].NextSeq) {
			r.say("the head went from epoch %d, next %d back to epoch %d, next %d (by %s)", states[i-1].Epoch, states[i-1].NextSeq, s.Epoch, s.NextSeq, versions[i].by)
		}
		for _, b := range s.Broadcasts {
			for j := range b.Items {
				it := &b.Items[j]
				if old, ok := names[it.Seq]; ok && old != it.Media[0].Name {
					r.say("sequence number %d was %s and then %s", it.Seq, old, it.Media[0].Name)
				}
				names[it.Seq] = it.Media[0].Name
			}
		}
	}
	return names
}

// checkPlaylists looks at each version of each playlist.
func (r *runner) checkPlaylists(names map[uint64]string) {
	newest := map[string]uint64{}
	for _, v := range r.versions {
		if !strings.HasSuffix(v.key, playlistSuffix) {
			continue
		}
		_, mark, ok := strings.Cut(v.text, epochMark)
		epoch, err := strconv.ParseUint(strings.TrimSpace(mark), 10, 64)
		if !ok || err != nil {
			r.say("%s by %s says nothing of its epoch", v.key, v.by)
			continue
		}
		if epoch < newest[v.key] {
			r.say("%s: epoch %d was overwritten by epoch %d (%s, at %v)", v.key, newest[v.key], epoch, v.by, v.at.Sub(r.house.start))
		}
		newest[v.key] = epoch
		for seq, name := range listed(v.text) {
			if names[seq] != "" && names[seq] != name {
				r.say("%s lists %s as %d, which is %s", v.key, name, seq, names[seq])
			}
		}
	}
}

// listed are the media of a media playlist by sequence number.
func listed(text string) map[uint64]string {
	out := map[uint64]string{}
	seq := uint64(0)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if n, ok := strings.CutPrefix(line, "#EXT-X-MEDIA-SEQUENCE:"); ok {
			seq, _ = strconv.ParseUint(n, 10, 64)
		}
		if name, ok := strings.CutSuffix(path.Base(line), ".m4s"); ok && !strings.HasPrefix(line, "#") {
			out[seq] = name
			seq++
		}
	}
	return out
}

// checkFinal looks at the timeline as it stands in the end.
func (r *runner) checkFinal(names map[uint64]string) {
	s, err := timeline.LoadHead(r.t.Context(), r.memory, entry)
	if err != nil {
		r.say("no timeline: %v", err)
		return
	}
	if len(s.Broadcasts) != 1 || !s.Current().Ended {
		r.say("%d broadcasts, the last one ended: %v", len(s.Broadcasts), s.Current().Ended)
		return
	}
	b := s.Current()
	var items []timeline.Item
	for _, c := range b.Chapters {
		list, err := timeline.LoadChapter(r.t.Context(), r.memory, b.ID, c)
		if err != nil {
			r.say("%v", err)
		}
		items = append(items, list...)
	}
	items = append(items, b.Items...)
	seen := map[string]bool{}
	for i, it := range items {
		m := it.Media[0]
		switch {
		case it.Seq != uint64(i+1):
			r.say("item %d has number %d", i+1, it.Seq)
		case m.Gap || !m.Stored:
			r.say("item %d is missing: %+v", it.Seq, m)
		case seen[m.Name]:
			r.say("item %d repeats %s", it.Seq, m.Name)
		case i > 0 && (it.Start != items[i-1].End() || it.Discontinuity):
			r.say("item %d begins %v behind the one before it, discontinuity %v", it.Seq, it.Start.Sub(items[i-1].End()), it.Discontinuity)
		case names[it.Seq] != "" && names[it.Seq] != m.Name:
			r.say("item %d is %s and was %s", it.Seq, m.Name, names[it.Seq])
		}
		seen[m.Name] = true
		delete(names, it.Seq)
	}
	for seq, name := range names {
		r.say("item %d, %s, was in the timeline and is not any more", seq, name)
	}
	if n := len(items); n == 0 || r.ended.Sub(items[n-1].End().Std()) > time.Second {
		r.say("%d items do not reach to the end", n)
	}
}

// checkCalls looks at what Kaltura was told: the entry was never off the air.
func (r *runner) checkCalls() {
	r.house.mu.Lock()
	defer r.house.mu.Unlock()
	for _, c := range r.calls {
		at, err := time.ParseDuration(strings.Fields(c)[0])
		if err != nil || !r.alone && strings.Contains(c, " unregister ") && r.house.start.Add(at).Before(r.ended) {
			r.say("call %q while the encoder was sending", c)
		}
	}
}

// TestOwnershipCases plays plans that once went wrong.
func TestOwnershipCases(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for name, p := range map[string]plan{
		"all drained in turn": {Workers: 3, Faults: []fault{
			{ms(200), "drain", 1, ms(309)}, {ms(229), "drain owner", 2, ms(463)}, {ms(231), "cut", 1, ms(308)}, {ms(257), "pause", 0, ms(303)}}},
		"drained beside a stopped worker": {Workers: 2, Faults: []fault{
			{ms(200), "pause", 0, ms(301)}, {ms(200), "kill", 1, ms(301)}, {ms(201), "drain owner", 1, ms(15705)},
			{ms(217), "pause", 1, ms(20000)}, {ms(302), "kill owner", 0, ms(301)}, {ms(3535), "pause", 1, ms(300)}}},
	} {
		t.Run(name, func(t *testing.T) {
			bustest.Prepare(t)
			synctest.Test(t, func(t *testing.T) {
				if wrong := p.run(t); len(wrong) > 0 {
					t.Errorf("%s", strings.Join(wrong, "\n"))
				}
			})
		})
	}
}
