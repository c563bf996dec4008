package rtmp

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics is what the server tells about itself.
type metrics struct {
	connections prometheus.Gauge
	accepted    *prometheus.CounterVec
	refused     *prometheus.CounterVec
	dropped     *prometheus.CounterVec
	bytes       prometheus.Counter
	panics      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "klive", Subsystem: "rtmp", Name: name, Help: help}
	}
	return &metrics{
		connections: f.NewGauge(prometheus.GaugeOpts{
			Namespace: "klive", Subsystem: "rtmp", Name: "connections", Help: "Open connections, RTMPS included.",
		}),
		accepted: f.NewCounterVec(counter("accepted_total", "Connections taken, by protocol."), []string{"protocol"}),
		refused:  f.NewCounterVec(counter("refused_total", "Connections and publishes refused or ended by this side, by reason."), []string{"reason"}),
		dropped:  f.NewCounterVec(counter("messages_dropped_total", "Messages that were not used, by kind."), []string{"kind"}),
		bytes:    f.NewCounter(counter("received_bytes_total", "Bytes received, after decryption.")),
		panics:   f.NewCounter(counter("panics_total", "Connections ended by a fault in this program.")),
	}
}

// The kinds of messages that are dropped.
const (
	dropEmpty       = "empty"       // audio or video of no bytes
	dropUnknown     = "unknown"     // a type or command that we don't know
	dropShared      = "shared"      // shared objects
	dropAMF3        = "amf3"        // data in AMF3
	dropUnpublished = "unpublished" // media for a stream that does not publish
	dropMalformed   = "malformed"   // tags and data that can't be read
	dropAborted     = "aborted"     // broken off by the peer
	dropTrack       = "track"       // media of a track that nobody takes
)

// The reasons for ending a connection beside gateway.Reason.
const (
	reasonProtocol    = "protocol"    // malformed RTMP
	reasonBounds      = "bounds"      // beyond a limit of the message layer
	reasonTimeout     = "timeout"     // a deadline
	reasonConnections = "connections" // the connection limit
	reasonName        = "name"        // application or stream name
	reasonPlay        = "play"        // playback over RTMP
	reasonFault       = "fault"       // a fault in this program
)
