package bus_test

import (
	"testing"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

func openStreams(t testing.TB, c *bus.Control, config bus.StreamsConfig) *bus.Streams {
	t.Helper()
	if config.Decode == nil {
		config.Decode = bustest.DecodeBody
	}
	s, err := bus.NewStreams(t.Context(), c, config)
	check(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestStreamsConform(t *testing.T) {
	bustest.RunMedia(t, bustest.MediaEngine{Open: func(t *testing.T, r bustest.Retention) bus.Media {
		return openStreams(t, bustest.Start(t), bus.StreamsConfig{MaxAge: r.MaxAge, MaxBytes: r.MaxBytes})
	}})
}
