package recorder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"klive/infra/kaltura"
	"klive/storage"
	"klive/storage/ledger"
)

// errDecided is returned for a step of a file that was settled, or let go, while the step was under way: an operator has
// skipped it, or the recording of its broadcast has stopped. The ledger is as it was; whoever gets it looks again.
var errDecided = errors.New("recorder: the file was settled meanwhile")

// appendAll appends the files of a series, one after the other, until none is left, one waits
// for an operator, or the context ends.
func (r *Recorder) appendAll(ctx context.Context, series string) {
	wait := r.Options.Retry
	for ctx.Err() == nil {
		f := r.book.Ledger().Due(series)
		if f == nil || f.Size == 0 || f.State == ledger.Parked {
			return // the next turn looks again
		}
		err := r.appendOne(ctx, *f)
		switch {
		case err == nil, errors.Is(err, errDecided):
			wait = r.Options.Retry
			continue
		case r.over(ctx, err):
			return
		}
		r.Log.Warn("a recording could not be handed to Kaltura, trying again", append(describeFile(f), "in", wait, "error", err)...)
		r.metrics.retries.Inc()
		if !pause(ctx, wait) {
			return
		}
		wait = min(2*wait, r.Options.RetryMost)
	}
}

// over reports whether an error ends the recorder: it has been fenced, or asked to end.
func (r *Recorder) over(ctx context.Context, err error) bool {
	if errors.Is(err, ledger.ErrFenced) || errors.Is(err, ledger.ErrDamaged) || errors.Is(err, ledger.ErrNone) {
		r.fail(err)
		return true
	}
	return ctx.Err() != nil
}

// appendOne takes a file one step on. An error may pass; the step is then taken again.
func (r *Recorder) appendOne(ctx context.Context, f ledger.File) error {
	if err := r.Guard(ctx); err != nil {
		return err
	}
	if f.State == ledger.Appending && f.Token == "" {
		return r.resolve(ctx, f, "klive ended, or lost the answer, while it told Kaltura of the file")
	}
	if r.Options.Strategy == UploadToken && f.Token == "" {
		return r.handOver(ctx, f)
	}
	if f.State == ledger.Uploaded {
		if err := r.prepare(ctx, &f); err != nil {
			return err
		}
	}
	resource, err := r.resource(ctx, &f)
	if err != nil {
		return err
	}
	// From here on the outcome may be unknown: that is written down before the call.
	if err := r.change(ctx, f, func(f *ledger.File) { f.State, f.Attempts = ledger.Appending, f.Attempts+1 }); err != nil {
		return err
	}
	f.State, f.Attempts, f.Changed = ledger.Appending, f.Attempts+1, time.Now()
	if err := r.Guard(ctx); err != nil {
		return err
	}
	e, err := r.API.AppendRecording(ctx, f.Partner, kaltura.AppendRequest{
		EntryID: r.Entry, AssetID: f.Asset, Index: f.Index, Resource: resource, Duration: f.Duration.Seconds(), Last: f.Last,
	})
	return r.judge(ctx, f, e, err)
}

// handOver uploads a file to Kaltura, streamed from the store, and remembers its token.
func (r *Recorder) handOver(ctx context.Context, f ledger.File) error {
	file := &objectReader{ctx: ctx, store: r.Recordings, key: f.Key(r.Entry), size: f.Size}
	defer file.Close()
	t, err := r.API.Upload(ctx, f.Partner, kaltura.UploadRequest{Name: f.Name(r.Entry), Size: f.Size, File: file})
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return r.park(ctx, f, "its MP4 "+f.Key(r.Entry)+" is not in the store any more; bring it back and retry, or skip it")
	case err != nil && kaltura.IsAPIError(err) && !passing(err):
		return r.park(ctx, f, "Kaltura refuses the upload: "+err.Error())
	case err != nil:
		return err
	}
	r.Log.Info("a recording is uploaded to Kaltura", append(describeFile(&f), "bytes", f.Size)...)
	return r.change(ctx, f, func(f *ledger.File) { f.Token, f.TokenAt, f.Attempts = t.ID, time.Now(), 0 })
}

// prepare does what comes before the first call for a file: it takes back a replacement that
// would keep the file out (row 99), and notes the duration by which an answer that gets lost
// can be made good.
func (r *Recorder) prepare(ctx context.Context, f *ledger.File) error {
	vod := r.book.Ledger().RecordedEntry
	if vod != "" && f.Anchor && (f.Last && f.Index == kaltura.IndexPrimary || f.Split) {
		err := r.API.CancelReplace(ctx, f.Partner, vod)
		if err != nil && (!kaltura.IsAPIError(err) || passing(err)) {
			return err
		}
		if err != nil {
			r.Log.Warn("Kaltura refuses media.cancelReplace; the recording's last part may join the VOD only with the next", "vod", vod, "error", err)
		}
	}
	before := int64(-1)
	if f.Token == "" && f.Anchor && f.Index == kaltura.IndexPrimary {
		e, err := r.API.LiveStreamGet(ctx, f.Partner, r.Entry)
		if err != nil && !kaltura.IsAPIError(err) {
			return err
		}
		if err == nil {
			before = e.MsDuration
		}
	}
	if before == f.Before {
		return nil
	}
	f.Before = before
	return r.change(ctx, *f, func(f *ledger.File) { f.Before = before })
}

// resource says how Kaltura gets at the file.
func (r *Recorder) resource(ctx context.Context, f *ledger.File) (kaltura.Resource, error) {
	key := f.Key(r.Entry)
	switch {
	case f.Token != "":
		return kaltura.Resource{Token: f.Token}, nil
	case r.Options.Strategy == ServerFile:
		return kaltura.Resource{LocalFilePath: fill(r.Options.Path, key, false)}, nil
	case r.Options.Address != "":
		return kaltura.Resource{URL: fill(r.Options.Address, key, true)}, nil
	}
	address, err := r.Sign(ctx, key)
	return kaltura.Resource{URL: address}, err
}

// passing reports whether an API's refusal may pass by itself: its own failures, and a session
// or service that an administrator puts right.
func passing(err error) bool {
	return kaltura.IsCode(err, kaltura.CodeInternal, kaltura.CodeInternalDatabase, kaltura.CodeInvalidKS, kaltura.CodeMissingKS,
		"UPLOAD_ERROR", "START_SESSION_ERROR")
}

// tokenLife is how old a token may be that is gone because it was used: the control plane keeps
// unused ones for a day, Kaltura for longer.
const tokenLife = 12 * time.Hour

// advice is what an operator can do about a file of which nobody knows whether Kaltura has it.
const advice = "; see whether the VOD has it: if it has, skip it, else retry"

// judge decides what the answer to an append means.
func (r *Recorder) judge(ctx context.Context, f ledger.File, e *kaltura.LiveStreamEntry, err error) error {
	switch {
	case err == nil:
		return r.confirm(ctx, f, e, "")
	case kaltura.NotSent(err), kaltura.IsCode(err, kaltura.CodeInvalidKS, kaltura.CodeMissingKS):
		// Nothing was done. That is noted even when the recorder is to end: the next would have to find it out.
		return errors.Join(err, r.change(context.WithoutCancel(ctx), f, func(f *ledger.File) {
			if f.Attempts--; f.Attempts == 0 {
				f.State = ledger.Uploaded
			}
		}))
	case kaltura.IsCode(err, kaltura.CodeRecordingFull):
		return r.stopSession(ctx, f, "the recording is as long as Kaltura allows ("+kaltura.CodeRecordingFull+"); what follows in this broadcast is not recorded")
	case kaltura.IsCode(err, kaltura.CodeRecordingElsewhere):
		return r.stopSession(ctx, f, "Kaltura records this partner's entries itself ("+kaltura.CodeRecordingElsewhere+"); klive does not record this broadcast")
	case f.Token != "" && kaltura.IsCode(err, kaltura.CodeUploadTokenNotFound):
		if f.Attempts > 1 && time.Since(f.TokenAt) >= tokenLife {
			return r.park(ctx, f, "its upload token is gone: an earlier call whose answer was lost has used it, or it has run out"+advice)
		}
		if f.Attempts > 1 {
			return r.confirm(ctx, f, nil, "an earlier call whose answer was lost has used its upload")
		}
		r.Log.Warn("Kaltura has lost an upload before it was used; it is uploaded again", describeFile(&f)...)
		return r.change(ctx, f, func(f *ledger.File) { f.State, f.Token, f.Attempts = ledger.Uploaded, "", 0 })
	case kaltura.IsAPIError(err) && !passing(err):
		return r.park(ctx, f, "Kaltura refuses it: "+err.Error())
	case f.Token != "":
		return err // the token tells with the next call
	}
	r.Log.Warn("the answer to an append was lost", append(describeFile(&f), "error", err)...)
	return r.resolve(ctx, f, "the answer was lost: "+err.Error())
}

// resolve finds out whether a file without an upload token was appended, by the duration that
// the anchor's files add up to; what can't be found out waits for an operator.
func (r *Recorder) resolve(ctx context.Context, f ledger.File, why string) error {
	if !f.Anchor || f.Index != kaltura.IndexPrimary || f.Before < 0 {
		return r.park(ctx, f, "it is not known whether Kaltura appended it: "+why+advice)
	}
	if left := r.Options.Unknown - time.Since(f.Changed); left > 0 && !pause(ctx, left) {
		return ctx.Err()
	}
	e, err := r.API.LiveStreamGet(ctx, f.Partner, r.Entry)
	if err != nil {
		return err
	}
	length := int64(math.Floor(f.Duration.Seconds() * 1000))
	switch {
	case e.MsDuration == f.Before+length || f.Fresh && e.MsDuration == length && length != f.Before:
		return r.confirm(ctx, f, e, "the recording's duration has grown by its length")
	case e.MsDuration == f.Before && !(f.Fresh && length == f.Before):
		r.Log.Warn("Kaltura has not appended a file after all; it is told again", describeFile(&f)...)
		return r.change(ctx, f, func(f *ledger.File) { f.State = ledger.Uploaded })
	}
	return r.park(ctx, f, fmt.Sprintf("it is not known whether Kaltura appended it: %s; the recording's duration was %d ms and is %d ms%s", why, f.Before, e.MsDuration, advice))
}

// confirm settles a file that Kaltura has.
func (r *Recorder) confirm(ctx context.Context, f ledger.File, e *kaltura.LiveStreamEntry, evidence string) error {
	attrs := append(describeFile(&f), "last", f.Last)
	vod := ""
	if e != nil {
		vod = e.RecordedEntryID
		attrs = append(attrs, "vod", vod, "recorded", time.Duration(e.MsDuration)*time.Millisecond)
	}
	if evidence != "" {
		attrs = append(attrs, "evidence", evidence)
	}
	err := r.book.Change(ctx, func(l *ledger.Ledger) error {
		g := l.File(f.ID())
		if g == nil {
			return nil
		}
		g.State, g.Reason, g.Changed = ledger.Confirmed, evidence, time.Now()
		if vod != "" {
			l.RecordedEntry = vod
		}
		return nil
	})
	if err == nil {
		r.Log.Info("a recording is appended", attrs...)
		r.metrics.settled.WithLabelValues(string(ledger.Confirmed)).Inc()
	}
	return err
}

// park leaves a file, and those after it, to an operator.
func (r *Recorder) park(ctx context.Context, f ledger.File, reason string) error {
	err := r.change(ctx, f, func(f *ledger.File) { f.State, f.Reason = ledger.Parked, reason })
	if err == nil {
		r.Log.Error("a recording waits for an operator (klive recording list)", append(describeFile(&f), "reason", reason)...)
		r.metrics.settled.WithLabelValues(string(ledger.Parked)).Inc()
	}
	return err
}

// stopSession ends the recording of the file's broadcast.
func (r *Recorder) stopSession(ctx context.Context, f ledger.File, reason string) error {
	err := r.book.Change(ctx, func(l *ledger.Ledger) error {
		if g := l.File(f.ID()); g != nil {
			g.State, g.Reason, g.Changed = ledger.Skipped, reason, time.Now()
		}
		stop(l, f.Broadcast, reason, time.Now())
		return nil
	})
	if err == nil {
		r.Log.Error("recording of the broadcast stops", append(describeFile(&f), "broadcast", f.Broadcast, "reason", reason)...)
		r.metrics.settled.WithLabelValues(string(ledger.Skipped)).Inc()
	}
	return err
}

// change changes the ledger's record of a file. What has been decided of it meanwhile stands: the error is then errDecided.
func (r *Recorder) change(ctx context.Context, f ledger.File, do func(f *ledger.File)) error {
	return r.book.Change(ctx, func(l *ledger.Ledger) error {
		g := l.File(f.ID())
		if g == nil || g.Settled() {
			return errDecided
		}
		do(g)
		g.Changed = time.Now()
		return nil
	})
}

// objectReader reads an object of the store as it is asked for, from any place, with a range
// that is open to the end.
type objectReader struct {
	ctx   context.Context
	store storage.Store
	key   string
	size  int64
	at    int64
	body  io.ReadCloser
}

// Read implements [io.Reader].
func (o *objectReader) Read(p []byte) (int, error) {
	if o.at >= o.size {
		return 0, io.EOF
	}
	if o.body == nil {
		body, info, err := o.store.Get(o.ctx, o.key, &storage.Range{Offset: o.at, Length: -1})
		if err != nil {
			return 0, err
		}
		if info.Size != o.size {
			body.Close()
			return 0, fmt.Errorf("recorder: %s has %d bytes, the ledger says %d: %w", o.key, info.Size, o.size, storage.ErrNotFound)
		}
		o.body = body
	}
	n, err := o.body.Read(p)
	o.at += int64(n)
	if errors.Is(err, io.EOF) && o.at < o.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Seek implements [io.Seeker].
func (o *objectReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += o.at
	case io.SeekEnd:
		offset += o.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("recorder: seek to %d", offset)
	}
	if offset != o.at {
		o.Close()
		o.at = offset
	}
	return offset, nil
}

// Close ends the reading.
func (o *objectReader) Close() error {
	if o.body == nil {
		return nil
	}
	body := o.body
	o.body = nil
	return body.Close()
}
