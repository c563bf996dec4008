//go:build previous

package timeline

import "encoding/json"

// Built with the tag "previous", this package writes the forms of the release before this one
// and reads no more of them than that one did. Tests of rolling upgrades put such a klive
// beside one of today. The fields that are named here came with this release; the next one
// names its own.

// MarshalJSON leaves out what the release before this one did not write.
func (m Media) MarshalJSON() ([]byte, error) {
	m.forget()
	return json.Marshal(plainMedia(m))
}

// UnmarshalJSON passes over what the release before this one did not know.
func (m *Media) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, (*plainMedia)(m)); err != nil {
		return err
	}
	m.forget()
	return nil
}

func (m *Media) forget() { m.Held, m.From, m.Encode = false, 0, nil }

// plainMedia is Media without methods.
type plainMedia Media

// MarshalJSON is as [Media.MarshalJSON].
func (r Rendition) MarshalJSON() ([]byte, error) {
	r.InitSum, r.Encoded = "", false
	return json.Marshal(plainRendition(r))
}

// UnmarshalJSON is as [Media.UnmarshalJSON].
func (r *Rendition) UnmarshalJSON(b []byte) error {
	err := json.Unmarshal(b, (*plainRendition)(r))
	r.InitSum, r.Encoded = "", false
	return err
}

type plainRendition Rendition

// MarshalJSON is as [Media.MarshalJSON].
func (w storedWire) MarshalJSON() ([]byte, error) {
	w.Held = nil
	return json.Marshal(plainStored(w))
}

// UnmarshalJSON is as [Media.UnmarshalJSON].
func (w *storedWire) UnmarshalJSON(b []byte) error {
	err := json.Unmarshal(b, (*plainStored)(w))
	w.Held = nil
	return err
}

type plainStored storedWire
