package gateway

import (
	"fmt"
	"math"
	"sync"
	"time"

	"klive/infra/live"
)

// maxVerdicts bounds what a gateway remembers of Kaltura's answers.
const maxVerdicts = 10_000

// sweepVerdicts is the least time between two looks through all of them for room: a flood of
// wrong addresses must not cost one each.
const sweepVerdicts = time.Second

// verdicts remembers for a while what Kaltura said to an address: an encoder's further
// connections need no call then, nor does one that was refused and comes back at once
// (contract row 33). A refusal holds for the address with its token and not for the entry, so
// that nobody can keep an entry off the air by asking for it with a wrong token.
type verdicts struct {
	// accept and refuse are how long an answer holds; 0 for not at all.
	accept, refuse time.Duration

	mu    sync.Mutex // guards the fields below
	held  map[verdictKey]verdict
	swept time.Time // when those that hold no more were last looked for
}

type verdictKey struct {
	partner int
	entry   string
	index   live.Index
	token   string // its hash
	bare    bool   // there is no token
}

type verdict struct {
	until   time.Time
	facts   live.EntryFacts
	refused bool
	refusal Refusal
}

func newVerdicts(accept, refuse time.Duration) *verdicts {
	return &verdicts{accept: accept, refuse: refuse, held: map[verdictKey]verdict{}}
}

func keyOf(p Params) verdictKey {
	return verdictKey{p.Partner, p.Entry, p.Index, string(live.HashToken(p.Entry, token(p))), p.Token == nil}
}

// find returns what holds for the parameters; ok is false when Kaltura has to be asked.
func (v *verdicts) find(p Params) (facts live.EntryFacts, err error, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found, ok := v.held[keyOf(p)]
	left := time.Until(found.until)
	if !ok || left <= 0 {
		return facts, nil, false
	}
	if !found.refused {
		return found.facts, nil, true
	}
	again := found.refusal
	again.Text += fmt.Sprintf(" (as before; Kaltura is asked again in %.0f s)", math.Ceil(left.Seconds()))
	return facts, &again, true
}

// keep remembers an answer: facts, or a refusal.
func (v *verdicts) keep(p Params, facts live.EntryFacts, refusal *Refusal) {
	hold, answer := v.accept, verdict{facts: facts}
	if refusal != nil {
		hold, answer = v.refuse, verdict{refused: true, refusal: *refusal}
	}
	if hold <= 0 {
		return
	}
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.held) >= maxVerdicts && now.Sub(v.swept) >= sweepVerdicts {
		v.swept = now
		for k, old := range v.held {
			if !old.until.After(now) {
				delete(v.held, k)
			}
		}
	}
	if len(v.held) < maxVerdicts {
		answer.until = now.Add(hold)
		v.held[keyOf(p)] = answer
	}
}

// forget drops what is known of an entry.
func (v *verdicts) forget(entry string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for k := range v.held {
		if k.entry == entry {
			delete(v.held, k)
		}
	}
}
