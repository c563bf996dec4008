package push

import (
	"bufio"
	"bytes"

	"klive/gateway"
	"klive/infra/media"
)

// nowhere is a publication that takes everything.
type nowhere struct{}

func (nowhere) SetTrack(media.Track) error { return nil }
func (nowhere) Expect(...media.Kind)       {}
func (nowhere) Data(gateway.Datum) error   { return nil }

func (nowhere) Write(gateway.AccessUnit) error { return nil }
func (nowhere) Done() <-chan struct{}          { return nil }
func (nowhere) Err() error                     { return nil }
func (nowhere) Close(error)                    {}

func bufferedReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }
