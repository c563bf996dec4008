package controlplane

import (
	"cmp"
	"context"
	"errors"
	"time"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// The demonstration data of a first start.
const (
	DemoPartner = 102
	DemoEntry   = "0_demolive"
	DemoToken   = "demo1234"
	// demoDVR is the DVR window in minutes.
	demoDVR = 120
)

// seed writes the system partner, the demonstration partner and its entry at the first
// start, and takes over the configured secrets at every start. Two servers may run it
// at once.
func (s *Server) seed(ctx context.Context) error {
	server := Partner{ID: kaltura.MediaServerPartner, Name: "Media", AdminSecret: s.config.MediaServerSecret, LiveStream: true}
	if err := s.ensurePartner(ctx, server); err != nil {
		return err
	}
	if err := s.ensurePartner(ctx, Partner{ID: kaltura.BatchPartner, Name: "Batch"}); err != nil {
		return err
	}
	demo := Partner{
		ID: DemoPartner, Name: "Demonstration", AdminSecret: s.config.Secret,
		LiveStream: true, LiveRecord: true, LiveTranscode: true, MediaServer: true, MaxInputs: Unlimited, MaxTranscoded: Unlimited,
	}
	if err := s.ensurePartner(ctx, demo); err != nil {
		return err
	}
	if err := s.takeLimits(ctx); err != nil {
		return err
	}
	done, err := load[settings](ctx, s.state, settingsKey)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	if done.Seeded {
		// The demonstration entry may have been deleted on purpose.
		return nil
	}
	if err := written(ctx, s.seedEntry); err != nil {
		return err
	}
	if err := create(ctx, s.state, settingsKey, settings{Seeded: true}); err != nil && !errors.Is(err, bus.ErrConflict) {
		return err
	}
	return nil
}

// takeLimits gives the demonstration partner the configured limits.
func (s *Server) takeLimits(ctx context.Context) error {
	l := s.config.Partner
	if l == nil {
		return nil
	}
	_, err := change(ctx, s.state, partnerKey(DemoPartner), func(p *Partner) error {
		if p.MaxInputs == l.Inputs && p.MaxTranscoded == l.Transcoded {
			return errKeep
		}
		p.MaxInputs, p.MaxTranscoded = l.Inputs, l.Transcoded
		return nil
	})
	return err
}

func (s *Server) seedEntry(ctx context.Context) error {
	ids, err := s.profileIDs(ctx, DemoPartner)
	if err != nil {
		return err
	}
	var doc entryDoc
	e := &doc.Entry
	e.ID, e.Name, e.StreamPassword = DemoEntry, "Demonstration", DemoToken
	e.SourceType, e.ConversionProfileID = kaltura.SourceLiveStream, ids["Passthrough"]
	e.DVRStatus, e.DVRWindow, e.RecordStatus = 1, demoDVR, kaltura.RecordAppended
	p, err := load[profile](ctx, s.state, profileKey(e.ConversionProfileID))
	if err != nil {
		return err
	}
	err = s.store(ctx, &call{partner: DemoPartner, now: time.Now()}, &doc, p)
	if errors.Is(err, bus.ErrConflict) {
		return nil
	}
	return err
}

// profileIDs names a partner's profiles.
func (s *Server) profileIDs(ctx context.Context, partner int) (map[string]int, error) {
	all, err := loadAll[profile](ctx, s.state, everyProfile)
	if err != nil {
		return nil, err
	}
	ids := map[string]int{}
	for _, p := range all {
		if p.PartnerID == partner && (ids[p.Name] == 0 || p.ID < ids[p.Name]) {
			ids[p.Name] = p.ID
		}
	}
	return ids, nil
}

// ensurePartner makes a partner with its default profiles when it does not exist. A
// secret that is given replaces the kept one; an empty one is drawn at the first time.
func (s *Server) ensurePartner(ctx context.Context, p Partner) error {
	secret := p.AdminSecret
	p.Status = cmp.Or(p.Status, PartnerActive)
	_, err := change(ctx, s.state, partnerKey(p.ID), func(old *Partner) error {
		if secret == "" || old.AdminSecret == secret {
			return errKeep
		}
		old.AdminSecret = secret
		return nil
	})
	if !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	p.AdminSecret = cmp.Or(secret, randomHex(16))
	if p.ID > 0 {
		ids, err := s.profileIDs(ctx, p.ID)
		if err != nil {
			return err
		}
		if len(ids) < len(defaultProfiles()) {
			if ids, err = s.addProfiles(ctx, p.ID); err != nil {
				return err
			}
		}
		p.LiveProfile = cmp.Or(p.LiveProfile, ids["Passthrough"])
	}
	err = create(ctx, s.state, partnerKey(p.ID), p)
	if errors.Is(err, bus.ErrConflict) && secret != "" {
		// Another server made it in the meantime: only the secret is left to take over.
		return s.ensurePartner(ctx, p)
	}
	if errors.Is(err, bus.ErrConflict) {
		return nil
	}
	return err
}
