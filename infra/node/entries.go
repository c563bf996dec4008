package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"klive/infra/admin"
	"klive/infra/kaltura"
)

// entries tells the console who may publish: the demo partner's entries.
type entries struct{ n *Node }

// maxEntries bounds the console's list.
const maxEntries = 200

// Entries implements [admin.Entries].
func (e entries) Entries(ctx context.Context) ([]admin.Entry, error) {
	if !e.n.assembled.Load() {
		return nil, errStarting
	}
	list, err := e.n.owner.LiveStreamList(ctx, DemoPartner, kaltura.LiveStreamFilter{}, 1, maxEntries)
	if err != nil {
		return nil, err
	}
	out := make([]admin.Entry, 0, len(list.Objects))
	for i := range list.Objects {
		out = append(out, shown(&list.Objects[i]))
	}
	return out, nil
}

func shown(e *kaltura.LiveStreamEntry) admin.Entry {
	return admin.Entry{ID: e.ID, Name: e.Name, Partner: e.PartnerID, Token: e.StreamPassword, SRTPassphrase: e.SRTPass}
}

// Add implements [admin.Entries].
func (e entries) Add(ctx context.Context, given admin.NewEntry) (admin.Entry, error) {
	if !e.n.assembled.Load() {
		return admin.Entry{}, errStarting
	}
	made, err := NewEntry(given)
	if err != nil {
		return admin.Entry{}, &admin.Refusal{Status: http.StatusBadRequest, Reason: err.Error()}
	}
	stored, err := e.n.owner.LiveStreamAdd(ctx, DemoPartner, made)
	if kaltura.IsCode(err, codeProfileNotFound) {
		return admin.Entry{}, &admin.Refusal{Status: http.StatusBadRequest, Reason: fmt.Sprintf("there is no conversion profile %d", given.Profile)}
	}
	if err != nil {
		return admin.Entry{}, err
	}
	return shown(stored), nil
}

// Profiles implements [admin.Entries].
func (e entries) Profiles(ctx context.Context) ([]admin.Profile, error) {
	if !e.n.assembled.Load() {
		return nil, errStarting
	}
	list, err := e.n.owner.ConversionProfileList(ctx, DemoPartner, 1, maxEntries)
	if err != nil {
		return nil, err
	}
	out := make([]admin.Profile, 0, len(list.Objects))
	for _, p := range list.Objects {
		out = append(out, admin.Profile{ID: p.ID, Name: p.Name, Default: p.IsDefault != 0})
	}
	return out, nil
}

// codeProfileNotFound is the API's error for a profile that the partner does not have.
const codeProfileNotFound = "CONVERSION_PROFILE_ID_NOT_FOUND"

// Remove implements [admin.Entries].
func (e entries) Remove(ctx context.Context, id string, force bool) error {
	if !e.n.assembled.Load() {
		return errStarting
	}
	entry, err := e.n.owner.LiveStreamGet(ctx, DemoPartner, id)
	switch {
	case kaltura.IsCode(err, kaltura.CodeEntryNotFound):
		return &admin.Refusal{Status: http.StatusNotFound, Reason: "there is no such entry; it may have been removed already"}
	case err != nil:
		return err
	case OnAir(entry) && !force:
		return &admin.Refusal{Status: http.StatusConflict, Reason: "entry " + entry.ID + " is on the air: stop its encoder first, or remove it with force=1 (--force)"}
	}
	if !force {
		if on, err := e.n.recording(ctx, id); err == nil && on {
			return &admin.Refusal{Status: http.StatusConflict, Reason: "entry " + id + "'s last broadcast is still being recorded, and nobody could have the recording without the entry: wait until it is over (broadcast.resume after its encoder stopped), or remove it with force=1 (--force)"}
		}
	}
	return e.n.owner.LiveStreamDelete(ctx, DemoPartner, id)
}

// OnAir says whether an entry is broadcast.
func OnAir(e *kaltura.LiveStreamEntry) bool {
	return e.LiveStatus == kaltura.StatusPlayable || e.LiveStatus == kaltura.StatusBroadcasting
}

// usableToken says what a token may hold: encoders put it into an address as it is.
var usableToken = regexp.MustCompile(`^[0-9A-Za-z._~+=-]{4,64}$`)

// usablePassphrase says what an SRT passphrase may hold: what is the same in an address whether
// the encoder decodes it or not. ffmpeg does not, and takes '+' for a space.
var usablePassphrase = regexp.MustCompile(`^[0-9A-Za-z._~-]*$`)

// UsablePassphrase says whether every encoder reads the passphrase out of an address as it is.
func UsablePassphrase(text string) bool { return usablePassphrase.MatchString(text) }

// Bounds of a new entry: a week of DVR in minutes, and the bytes of its name.
const (
	maxDVR  = 7 * 24 * 60
	maxName = 200
)

// Bounds of an SRT passphrase in bytes (SRT protocol, key material).
const (
	minPassphrase = 10
	maxPassphrase = 79
)

// recordings are the ways to record, as people name them.
var recordings = map[string]int{"none": kaltura.RecordDisabled, "append": kaltura.RecordAppended, "session": kaltura.RecordPerSession}

// NewEntry checks what a person wants of a new live entry.
func NewEntry(want admin.NewEntry) (kaltura.NewEntry, error) {
	e := kaltura.NewEntry{Name: strings.TrimSpace(want.Name), StreamPassword: want.Token, ConversionProfileID: want.Profile, SRTPass: want.SRTPassphrase}
	record, known := recordings[want.Record]
	switch {
	case e.Name == "":
		return e, errors.New("the entry needs a name")
	case len(e.Name) > maxName:
		return e, fmt.Errorf("the name has %d bytes; want at most %d", len(e.Name), maxName)
	case want.Token != "" && !usableToken.MatchString(want.Token):
		return e, errors.New("token: want 4 to 64 letters, digits or . _ ~ + = -, because encoders put it into an address as it is")
	case want.DVR < 0 || want.DVR > maxDVR:
		return e, fmt.Errorf("DVR window %d: want 0 to %d minutes", want.DVR, maxDVR)
	case want.Profile < 0:
		return e, fmt.Errorf("profile %d: want a conversion profile's id", want.Profile)
	case want.SRTPassphrase != "" && (len(want.SRTPassphrase) < minPassphrase || len(want.SRTPassphrase) > maxPassphrase):
		return e, fmt.Errorf("the SRT passphrase has %d bytes; SRT wants %d to %d", len(want.SRTPassphrase), minPassphrase, maxPassphrase)
	case !UsablePassphrase(want.SRTPassphrase):
		return e, errors.New("SRT passphrase: want letters, digits or . _ ~ -, because encoders put it into an address, and not all of them decode one")
	case want.Record != "" && !known:
		return e, fmt.Errorf("record %q: want none, append (all sessions to one VOD entry) or session (one for each)", want.Record)
	}
	if want.DVR > 0 {
		on := 1
		e.DVRStatus, e.DVRWindow = &on, want.DVR
	}
	if known {
		e.RecordStatus = &record
	}
	return e, nil
}

// HasEntry reports whether the embedded control plane has a live entry.
func (n *Node) HasEntry(ctx context.Context, id string) bool {
	if n.plane == nil {
		return false
	}
	_, err := n.owner.LiveStreamGet(ctx, DemoPartner, id)
	return err == nil
}
