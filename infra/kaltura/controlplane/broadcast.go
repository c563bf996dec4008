package controlplane

import (
	"context"
	"crypto/subtle"
	"errors"
	"maps"
	"slices"
	"strconv"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// bestStatus is the best state of an entry on any media server, in the order stopped,
// authenticated, broadcasting, playable (contract §3.4).
func bestStatus(doc entryDoc) int {
	rank := map[int]int{kaltura.StatusAuthenticated: 1, kaltura.StatusBroadcasting: 2, kaltura.StatusPlayable: 3}
	best := kaltura.StatusStopped
	for _, n := range doc.Nodes {
		if rank[n.Status] > rank[best] {
			best = n.Status
		}
	}
	return best
}

// isLive follows the generation: any registration in 2015, a playable one now.
func (s *Server) isLive(doc entryDoc) bool {
	if s.config.Generation == Generation2015 {
		return len(doc.Nodes) > 0
	}
	return bestStatus(doc) == kaltura.StatusPlayable
}

// hidden says that an entry on air is to be seen by its makers alone.
func (s *Server) hidden(doc entryDoc) bool {
	return s.config.Generation != Generation2015 && doc.Entry.ExplicitLive == 1 && doc.Entry.ViewMode == 0
}

// connected says whether a node counts against the partner's limits.
func connected(doc entryDoc) bool { return bestStatus(doc) != kaltura.StatusStopped }

type authenticateParams struct {
	EntryID     string      `api:"entryId"`
	Token       string      `api:"token"`
	Hostname    string      `api:"hostname,optional"`
	Index       serverIndex `api:"mediaServerIndex,optional"`
	Application string      `api:"applicationName,optional"`
}

// authenticate says whether an encoder may publish an entry (contract §3.1).
func (s *Server) authenticate(ctx context.Context, c *call, p authenticateParams) (any, error) {
	partner, err := load[Partner](ctx, s.state, partnerKey(c.partner))
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return nil, err
	}
	doc, err := s.liveEntry(ctx, c, p.EntryID)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(p.Token), []byte(doc.Entry.StreamPassword)) != 1 {
		return nil, fail(kaltura.CodeInvalidToken, "token rejected for live entry "+p.EntryID, "ENTRY_ID", p.EntryID)
	}
	if err := s.alreadyBroadcasting(ctx, doc, p); err != nil {
		return nil, err
	}
	if err := s.withinLimits(ctx, doc, partner); err != nil {
		return nil, err
	}
	if doc, err = s.noteAuthenticated(ctx, c, doc, p); err != nil {
		return nil, err
	}
	return s.view(ctx, c, doc, "KalturaLiveStreamEntry")
}

// alreadyBroadcasting refuses a second encoder: in 2015 when the registered server
// answers with a live playlist, now when a media server of another environment has the
// entry on air under the same index.
func (s *Server) alreadyBroadcasting(ctx context.Context, doc entryDoc, p authenticateParams) error {
	busy := func(host string) error {
		return fail(kaltura.CodeAlreadyBroadcasting, "entry "+p.EntryID+" is on air on media server "+host,
			"ENTRY_ID", p.EntryID, "MEDIA_SERVER", host)
	}
	if s.config.Generation == Generation2015 {
		for _, n := range doc.Nodes {
			address := s.playbackFolder(p.EntryID) + "playlist.m3u8"
			if s.config.ProbeLive != nil && s.config.ProbeLive(ctx, address) {
				return busy(n.Hostname)
			}
		}
		return nil
	}
	n, ok := doc.Nodes[int(p.Index)]
	if !ok || p.Hostname == "" || n.Hostname == p.Hostname || n.Status != kaltura.StatusBroadcasting && n.Status != kaltura.StatusPlayable {
		return nil
	}
	theirs, _, err := s.server(ctx, n.Hostname)
	if err != nil {
		return err
	}
	ours, _, err := s.server(ctx, p.Hostname)
	if err != nil {
		return err
	}
	if theirs.Environment != ours.Environment {
		return busy(n.Hostname)
	}
	return nil
}

// withinLimits applies the partner's limits to this entry and the others on air.
func (s *Server) withinLimits(ctx context.Context, doc entryDoc, p Partner) error {
	inputs, transcoded := p.MaxInputs, p.MaxTranscoded
	if !p.LiveTranscode {
		transcoded = 0
	}
	if inputs < 0 && transcoded < 0 && len(p.AdminTags) == 0 {
		return nil
	}
	others, err := s.onAir(ctx, doc)
	if err != nil {
		return err
	}
	if s.config.Generation != Generation2015 {
		if err := tagsExceeded(others, doc.Entry, p.AdminTags); err != nil {
			return err
		}
	}
	passes, codes, err := s.countTranscoded(ctx, others)
	if err != nil {
		return err
	}
	return exceeded(s.config.Generation, doc.Entry.ID, passes, codes, inputs, transcoded)
}

// onAir lists the partner's entries on air, doc among them.
func (s *Server) onAir(ctx context.Context, doc entryDoc) ([]entryDoc, error) {
	all, err := loadAll[entryDoc](ctx, s.state, everyEntry)
	return slices.DeleteFunc(all, func(d entryDoc) bool {
		mine := d.Entry.ID == doc.Entry.ID
		return d.Entry.PartnerID != doc.Entry.PartnerID || !mine && !connected(d)
	}), err
}

// tagsExceeded applies the limits that a partner has for entries of an admin tag.
func tagsExceeded(onAir []entryDoc, e kaltura.LiveStreamEntry, limits map[string]int) error {
	for _, tag := range kaltura.SplitList(e.AdminTags) {
		allowed, limited := limits[tag]
		count := 0
		for _, d := range onAir {
			if slices.Contains(kaltura.SplitList(d.Entry.AdminTags), tag) {
				count++
			}
		}
		if limited && count > allowed {
			return fail(kaltura.CodeExceededAdminTag, "the partner has as many live entries of this tag on air as it may",
				"ENTRY_ID", e.ID, "ADMIN_TAG", tag, "ALLOWED", strconv.Itoa(allowed))
		}
	}
	return nil
}

// countTranscoded counts entries by whether they need a transcoder.
func (s *Server) countTranscoded(ctx context.Context, all []entryDoc) (passes, codes int, err error) {
	profiles := map[int]bool{}
	for _, d := range all {
		id := d.Entry.ConversionProfileID
		if _, known := profiles[id]; !known {
			p, _, err := s.profileFor(ctx, id, func(int) bool { return true })
			if err != nil {
				return 0, 0, err
			}
			profiles[id] = p.transcodes(s.config.Generation)
		}
		if profiles[id] {
			codes++
		} else {
			passes++
		}
	}
	return passes, codes, nil
}

// exceeded compares counts with limits; a negative limit is none.
func exceeded(g Generation, entry string, passes, codes, inputs, transcoded int) error {
	over := func(code string) error {
		return fail(code, "the partner has as many live entries on air as it may", "ENTRY_ID", entry)
	}
	if g == Generation2015 {
		unlimited := inputs < 0 || transcoded < 0
		switch {
		case !unlimited && passes+codes > inputs+transcoded:
			return over(kaltura.CodeExceededPassThrough)
		case transcoded >= 0 && codes > transcoded:
			return over(kaltura.CodeExceededTranscoded)
		case !unlimited && passes > inputs+transcoded-codes:
			return over(kaltura.CodeExceededPassThrough)
		}
		return nil
	}
	switch {
	case transcoded >= 0 && codes > transcoded:
		return over(kaltura.CodeExceededTranscoded)
	case inputs >= 0 && passes > inputs:
		return over(kaltura.CodeExceededPassThrough)
	}
	return nil
}

// noteAuthenticated remembers who was admitted, when the caller says who it is. In
// 2015 authenticate changed nothing.
func (s *Server) noteAuthenticated(ctx context.Context, c *call, doc entryDoc, p authenticateParams) (entryDoc, error) {
	if _, given := c.params.Get("mediaServerIndex"); s.config.Generation == Generation2015 || p.Hostname == "" || !given {
		return doc, nil
	}
	if err := s.requireServer(ctx, p.Hostname); err != nil {
		return doc, err
	}
	return s.changeEntry(ctx, c, p.EntryID, func(doc *entryDoc) error {
		n, ok := doc.Nodes[int(p.Index)]
		if ok && n.Hostname == p.Hostname && (n.Status == kaltura.StatusBroadcasting || n.Status == kaltura.StatusPlayable) {
			// The encoder came back while the entry is on air: it stays so.
			return errKeep
		}
		waiting := n.Waiting
		if n.marked() {
			n.Waiting = nil // of a caller that changed the status itself
			waiting = &n
		}
		now := c.now.Unix()
		let := node{ID: n.ID, Hostname: p.Hostname, Application: p.Application, Status: kaltura.StatusAuthenticated, Since: now, Seen: now, Waiting: waiting}
		if err := s.nodeID(ctx, &let); err != nil {
			return err
		}
		doc.place(int(p.Index), let)
		if e := &doc.Entry; p.Index == kaltura.IndexPrimary && e.CurrentBroadcastStartTime == 0 {
			e.CurrentBroadcastStartTime = float64(c.now.UnixMilli()) / 1000
		}
		return nil
	})
}

// place sets the registration of an index.
func (d *entryDoc) place(index int, n node) {
	d.Nodes = maps.Clone(d.Nodes)
	if d.Nodes == nil {
		d.Nodes = map[int]node{}
	}
	d.Nodes[index] = n
}
