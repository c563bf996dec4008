package origin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/storage/playlist"
	"klive/storage/timeline"
)

// Limits of the texts kept in memory.
const (
	// maxTexts is how many playlists are kept of one state; there are few but for combinations
	// of ids, which a viewer may make up.
	maxTexts = 256
	// textIdle is how long an entry's texts are kept that nobody asks for.
	textIdle = time.Minute
)

// form is what kind of text is wanted.
type form byte

const (
	formMultivariant form = iota
	formMedia             // the media playlist of the rendition that the selection names
	formDASH
	formSMIL
	formTS // as formMedia, in MPEG-TS
)

// request is which text of an entry is wanted.
type request struct {
	sel  playlist.Selection
	form form
	dvr  bool
}

// id is the same for the same text.
func (r *request) id() string { return fmt.Sprint(r.sel, r.form, r.dvr) }

// text is a rendered playlist; body is empty when there is nothing to play.
type text struct {
	body   string
	etag   string
	target int
	// announced says that there is nothing yet of a rendition that is to come.
	announced bool
}

// texts renders each playlist once for each state of its timeline, however many ask.
type texts struct {
	timelines Timelines
	window    int
	ts        bool // HLS is in MPEG-TS
	renders   prometheus.Counter

	// mu guards the fields below.
	mu      sync.Mutex
	entries map[string]*entryTexts
	swept   time.Time
}

// entryTexts are the playlists of one entry.
type entryTexts struct {
	used time.Time // guarded by texts.mu

	// mu guards the fields below.
	mu    sync.Mutex
	state *timeline.State
	texts map[string]*rendering
	// chapters holds the lines of closed chapters by rendition and key.
	chapters map[string]string
}

// rendering is a text that is being made, or made.
type rendering struct {
	once sync.Once
	text text
	err  error
}

func newTexts(t Timelines, window int, ts bool, renders prometheus.Counter) *texts {
	return &texts{timelines: t, window: window, ts: ts, renders: renders, entries: map[string]*entryTexts{}}
}

// get returns a playlist as the timeline stands.
func (t *texts) get(ctx context.Context, r request) (text, error) {
	state, err := t.timelines.State(ctx, r.sel.Entry)
	if err != nil {
		return text{}, err
	}
	r.sel = playlist.Known(state, r.sel)
	e := t.entry(r.sel.Entry)
	id := r.id()
	d := e.rendering(state, id)
	d.once.Do(func() {
		t.renders.Inc()
		// Others wait for this text, so it does not end with this viewer's patience.
		d.text, d.err = t.render(context.WithoutCancel(ctx), e, state, r)
	})
	if d.err != nil {
		e.forget(id, d)
	}
	return d.text, d.err
}

func (t *texts) entry(name string) *entryTexts {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Sub(t.swept) > textIdle {
		for k, e := range t.entries {
			if now.Sub(e.used) > textIdle {
				delete(t.entries, k)
			}
		}
		t.swept = now
	}
	e := t.entries[name]
	if e == nil {
		e = &entryTexts{texts: map[string]*rendering{}, chapters: map[string]string{}}
		t.entries[name] = e
	}
	e.used = now
	return e
}

// rendering returns the text's place for a state. A newer state drops the texts of the
// one before; who still asks with an older one gets the newer's.
func (e *entryTexts) rendering(s *timeline.State, id string) *rendering {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state != s && (e.state == nil || s.Epoch > e.state.Epoch || (s.Epoch == e.state.Epoch && s.LogSeq >= e.state.LogSeq)) {
		e.state, e.texts = s, map[string]*rendering{}
	}
	d := e.texts[id]
	if d == nil {
		d = &rendering{}
		if len(e.texts) < maxTexts && e.state == s {
			e.texts[id] = d
		}
	}
	return d
}

// forget lets a failed text be made again.
func (e *entryTexts) forget(id string, d *rendering) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.texts[id] == d {
		delete(e.texts, id)
	}
}

func (t *texts) render(ctx context.Context, e *entryTexts, s *timeline.State, r request) (text, error) {
	b := playlist.OnAir(s)
	if b == nil {
		return text{}, nil
	}
	body, err := t.text(ctx, e, b, r)
	if err != nil {
		return text{}, err
	}
	return text{body: body, etag: tag([]byte(body)), target: b.Target,
		announced: body == "" && (r.form == formMedia || r.form == formTS) && playlist.Announced(b, r.sel.Rendition)}, nil
}

func (t *texts) text(ctx context.Context, e *entryTexts, b *timeline.Broadcast, r request) (string, error) {
	var past []playlist.Past
	var err error
	switch r.form {
	case formMedia, formTS:
		var text string
		if r.dvr {
			if past, err = t.past(ctx, e, b, r.sel.Rendition); err != nil {
				return "", err
			}
			text = playlist.DVR(b, r.sel.Rendition, t.window, past)
		} else {
			text = playlist.Live(b, r.sel.Rendition, t.window)
		}
		if r.form == formTS {
			text = playlist.TS(text)
		}
		return text, nil
	case formDASH:
		if r.dvr {
			if past, err = t.items(ctx, b); err != nil {
				return "", err
			}
		}
		return playlist.Manifest(b, r.sel, r.dvr, t.window, past), nil
	case formSMIL:
		return playlist.SMIL(b, r.sel), nil
	}
	if t.ts {
		return playlist.MultivariantTS(b, r.sel, r.dvr), nil
	}
	return playlist.Multivariant(b, r.sel, r.dvr), nil
}

// chaptersAtOnce is how many chapters are read from the store at a time: an origin that begins
// with a window of a day has 76 to read.
const chaptersAtOnce = 8

// items returns the closed chapters of the DVR window.
func (t *texts) items(ctx context.Context, b *timeline.Broadcast) ([]playlist.Past, error) {
	chapters := playlist.DVRChapters(b)
	past, errs := make([]playlist.Past, len(chapters)), make([]error, len(chapters))
	turns := make(chan struct{}, chaptersAtOnce)
	var reading sync.WaitGroup
	for i, c := range chapters {
		turns <- struct{}{}
		reading.Go(func() {
			defer func() { <-turns }()
			past[i].Items, errs[i] = t.timelines.Items(ctx, b.ID, c)
		})
	}
	reading.Wait()
	return past, errors.Join(errs...)
}

// past returns the closed chapters of the DVR window with their lines, which are made once.
func (t *texts) past(ctx context.Context, e *entryTexts, b *timeline.Broadcast, rendition string) ([]playlist.Past, error) {
	if b.Rendition(rendition) == nil {
		return nil, nil
	}
	past, err := t.items(ctx, b)
	if err != nil {
		return nil, err
	}
	keep := make(map[string]bool, len(past))
	for i, c := range playlist.DVRChapters(b) {
		key := rendition + " " + c.Key
		keep[key] = true
		if past[i].Text = e.chapter(key); past[i].Text == "" {
			past[i].Text = playlist.ChapterText(b, rendition, past[i].Items)
			e.setChapter(key, past[i].Text)
		}
	}
	e.prune(rendition, keep)
	return past, nil
}

func (e *entryTexts) chapter(key string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.chapters[key]
}

func (e *entryTexts) setChapter(key, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.chapters[key] = text
}

// prune drops the chapters of a rendition that have left the window.
func (e *entryTexts) prune(rendition string, keep map[string]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key := range e.chapters {
		if !keep[key] && len(key) > len(rendition) && key[:len(rendition)+1] == rendition+" " {
			delete(e.chapters, key)
		}
	}
}
