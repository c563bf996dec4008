package node

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"klive/infra/admin"
	"klive/infra/live"
	"klive/storage"
	"klive/storage/ledger"
	"klive/workers/recorder"
)

// recordingList tells operators of recordings.
type recordingList struct{ n *Node }

const (
	// maxLedgers is of how many entries recordings are listed at once, the newest ones.
	maxLedgers = 200
	// maxRecordings is how many files are listed.
	maxRecordings = 500
)

// Recordings implements [admin.Recordings].
func (r recordingList) Recordings(ctx context.Context, entry string) (admin.RecordingList, error) {
	var out admin.RecordingList
	if !r.n.assembled.Load() {
		return out, errStarting
	}
	entries := []string{entry}
	switch {
	case entry == "":
		var err error
		if entries, out.More, err = r.recorded(ctx); err != nil {
			return out, err
		}
	case !live.ValidEntryID(entry):
		return out, &admin.Refusal{Status: http.StatusBadRequest, Reason: "want an entry's id, such as 0_rkij47dr"}
	}
	for _, id := range entries {
		l, err := ledger.Load(ctx, r.n.store, id)
		switch {
		case errors.Is(err, ledger.ErrNone):
		case errors.Is(err, ledger.ErrDamaged), errors.Is(err, ledger.ErrVersion):
			out.Recordings = append(out.Recordings, admin.Recording{Entry: id, Key: ledger.Key(id), State: "damaged", Reason: err.Error()})
		case err != nil:
			return out, err
		default:
			for i := range l.Files {
				out.Recordings = append(out.Recordings, recording(id, &l.Files[i]))
			}
			if running(l) {
				out.Running = append(out.Running, id)
			}
		}
	}
	slices.SortStableFunc(out.Recordings, func(a, b admin.Recording) int {
		return cmp.Or(cmp.Compare(urgency(a.State), urgency(b.State)), b.Start.Compare(a.Start), cmp.Compare(a.File, b.File))
	})
	if len(out.Recordings) > maxRecordings {
		out.Recordings, out.More = out.Recordings[:maxRecordings], true
	}
	slices.Sort(out.Running)
	return out, nil
}

// urgency puts what needs somebody first.
func urgency(state string) int {
	if state == string(ledger.Parked) || state == "damaged" {
		return 0
	}
	return 1
}

// recorded lists the entries that have a ledger, those that changed last first.
func (r recordingList) recorded(ctx context.Context) (entries []string, more bool, err error) {
	var all []storage.Info
	for o, err := range storage.All(ctx, r.n.store, ledger.Prefix) {
		if err != nil {
			return nil, false, err
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b storage.Info) int { return b.Modified.Compare(a.Modified) })
	if len(all) > maxLedgers {
		all, more = all[:maxLedgers], true
	}
	for _, o := range all {
		if id := strings.TrimSuffix(strings.TrimPrefix(o.Key, ledger.Prefix), ".json"); live.ValidEntryID(id) {
			entries = append(entries, id)
		}
	}
	return entries, more, nil
}

func recording(entry string, f *ledger.File) admin.Recording {
	return admin.Recording{
		Entry: entry, File: f.ID(), Key: f.Key(entry), Asset: f.Asset, Index: f.Index, Rendition: f.Rendition, Start: f.Start.Std(),
		Duration: f.Duration.Seconds(), Last: f.Last, State: string(f.State), Reason: f.Reason, Bytes: f.Size, Lost: f.Lost, Changed: f.Changed,
	}
}

// Order implements [admin.Recordings].
func (r recordingList) Order(ctx context.Context, entry, kind, file string) error {
	if !r.n.assembled.Load() || r.n.orders == nil {
		return errStarting
	}
	if kind != recorder.OrderSplit {
		l, err := ledger.Load(ctx, r.n.store, entry)
		switch {
		case errors.Is(err, ledger.ErrNone) || err == nil && l.File(file) == nil:
			return &admin.Refusal{Status: http.StatusNotFound, Reason: "there is no such file; klive recording list shows those that there are"}
		case err == nil && recorder.Refused(l, kind, file) != "":
			return &admin.Refusal{Status: http.StatusConflict, Reason: recorder.Refused(l, kind, file)}
		case errors.Is(err, ledger.ErrDamaged), errors.Is(err, ledger.ErrVersion): // the order waits for a recorder that can read it
		case err != nil && live.ValidEntryID(entry): // others are refused below
			return err
		}
	} else if live.ValidEntryID(entry) {
		on, err := r.n.recording(ctx, entry)
		switch {
		case err != nil:
			return err
		case !on:
			return &admin.Refusal{Status: http.StatusConflict, Reason: "nothing of entry " + entry + " is being recorded now: it is not on the air, or its recordStatus does not ask for it"}
		}
	}
	err := recorder.Send(ctx, r.n.orders, entry, kind, file, time.Now())
	if errors.Is(err, recorder.ErrOrder) {
		return &admin.Refusal{Status: http.StatusBadRequest, Reason: strings.TrimPrefix(err.Error(), recorder.ErrOrder.Error()+": ")}
	}
	return err
}

// recording says whether a broadcast of an entry is being recorded: from its beginning until its
// last file is cut.
func (n *Node) recording(ctx context.Context, entry string) (bool, error) {
	l, err := ledger.Load(ctx, n.store, entry)
	if errors.Is(err, ledger.ErrNone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return running(l), nil
}

func running(l *ledger.Ledger) bool {
	return slices.ContainsFunc(l.Sessions, func(s ledger.Session) bool { return s.Stopped == "" })
}

// VODs implements [admin.Recordings].
func (r recordingList) VODs(ctx context.Context) (out []admin.VOD, err error) {
	plane := r.n.planeNow.Load()
	if plane == nil {
		return nil, nil
	}
	list, err := plane.VODs(ctx)
	for _, v := range list[:min(len(list), maxRecordings)] {
		o := admin.VOD{ID: v.ID, Entry: v.Entry, Name: v.Name, Created: v.Created, Duration: v.Duration.Seconds(), Flavors: []admin.VODFlavor{}, Problem: v.Problem}
		for _, f := range v.Flavors {
			o.Flavors = append(o.Flavors, admin.VODFlavor(f))
		}
		out = append(out, o)
	}
	return out, err
}

// serveVOD answers for recorded entries.
func (n *Node) serveVOD(w http.ResponseWriter, r *http.Request) {
	if plane := n.planeNow.Load(); plane != nil {
		plane.ServeVOD(w, r)
		return
	}
	answerHealth(w, n.Ready(r.Context()))
}
