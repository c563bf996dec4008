package timeline

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Envelope is a record as it stands in the log: who wrote it, and behind which record.
type Envelope struct {
	// Epoch is the writer's. Records of an epoch below the state's don't count.
	Epoch uint64
	// Prev is the log position (State.LogSeq) that the writer had folded: the records of an
	// entry are a chain, so a reader notices when one is missing.
	Prev uint64
	// ID is the writer's own for this record.
	ID     string
	Record Record
}

// MaxRecord is the largest record in bytes.
const MaxRecord = 64 << 10

// wireVersion is the version of records, heads and chapters.
const wireVersion = 1

// ErrVersion is returned for a record, head or chapter that another release wrote in a form
// that this one does not know: upgrade this process.
var ErrVersion = errors.New("timeline: unknown version or type; a newer release writes this timeline, upgrade this process")

// ErrRecord is returned for malformed records and for records that the state does not allow.
var ErrRecord = errors.New("timeline: bad record")

// envelope is the JSON form.
type envelope struct {
	Version int             `json:"v"`
	Epoch   uint64          `json:"epoch"`
	Prev    uint64          `json:"prev"`
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Record  json.RawMessage `json:"rec"`
}

// Marshal returns the envelope's wire form, a JSON object of at most MaxRecord bytes.
func (e Envelope) Marshal() ([]byte, error) {
	kind := recordType(e.Record)
	if kind == "" {
		return nil, fmt.Errorf("%w: unknown type %T", ErrRecord, e.Record)
	}
	rec, err := json.Marshal(e.Record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	b, err := json.Marshal(envelope{wireVersion, e.Epoch, e.Prev, e.ID, kind, rec})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if len(b) > MaxRecord {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", ErrRecord, kind, len(b), MaxRecord)
	}
	return b, nil
}

// UnmarshalEnvelope reads what [Envelope.Marshal] wrote. The error wraps ErrRecord or ErrVersion.
func UnmarshalEnvelope(b []byte) (Envelope, error) {
	if len(b) > MaxRecord {
		return Envelope{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrRecord, len(b), MaxRecord)
	}
	var w envelope
	if err := json.Unmarshal(b, &w); err != nil {
		return Envelope{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if w.Version != wireVersion {
		return Envelope{}, fmt.Errorf("record version %d: %w", w.Version, ErrVersion)
	}
	rec := newRecord(w.Type)
	if rec == nil {
		return Envelope{}, fmt.Errorf("record type %.32q: %w", w.Type, ErrVersion)
	}
	if err := json.Unmarshal(w.Record, rec); err != nil {
		return Envelope{}, fmt.Errorf("%w: %s: %w", ErrRecord, w.Type, err)
	}
	return Envelope{Epoch: w.Epoch, Prev: w.Prev, ID: w.ID, Record: rec}, nil
}

// storedWire is the JSON form of [Stored]. Held media stand apart, where a release that does
// not know them leaves them out: to it they are adopted still.
type storedWire struct {
	Seq   uint64  `json:"seq"`
	Media []Media `json:"media"`
	Held  []Media `json:"held,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (r *Stored) MarshalJSON() ([]byte, error) {
	w := storedWire{Seq: r.Seq}
	for _, m := range r.Media {
		if m.Held {
			w.Held = append(w.Held, m)
		} else {
			w.Media = append(w.Media, m)
		}
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Stored) UnmarshalJSON(b []byte) error {
	var w storedWire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	r.Seq, r.Media = w.Seq, append(w.Media, w.Held...)
	return nil
}

func recordType(r Record) string {
	switch r.(type) {
	case *Claimed:
		return "claimed"
	case *Started:
		return "started"
	case *Described:
		return "described"
	case *Adopted:
		return "adopted"
	case *Stored:
		return "stored"
	case *Closed:
		return "closed"
	case *Ended:
		return "ended"
	case *Expired:
		return "expired"
	}
	return ""
}

func newRecord(kind string) Record {
	switch kind {
	case "claimed":
		return new(Claimed)
	case "started":
		return new(Started)
	case "described":
		return new(Described)
	case "adopted":
		return new(Adopted)
	case "stored":
		return new(Stored)
	case "closed":
		return new(Closed)
	case "ended":
		return new(Ended)
	case "expired":
		return new(Expired)
	}
	return nil
}
