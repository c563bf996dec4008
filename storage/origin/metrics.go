package origin

import (
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count requests. Nothing in their labels grows with viewers or streams.
type metrics struct {
	requests *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	renders  prometheus.Counter
	rebuilds *prometheus.CounterVec
	// transmuxes counts MPEG-TS segments.
	transmuxes *prometheus.CounterVec
	pictures   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_origin_requests_total", Help: "Requests answered, by kind and status code.",
		}, []string{"kind", "code"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_origin_bytes_total", Help: "Bytes of bodies sent, by kind.",
		}, []string{"kind"}),
		renders: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "klive_origin_renders_total", Help: "Playlists rendered; requests beyond that were answered from memory.",
		}),
		rebuilds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_origin_rebuilds_total", Help: "Media made from the bus because the store had or gave none: made, cached (made before) or failed.",
		}, []string{"result"}),
		transmuxes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_origin_transmuxes_total", Help: "MPEG-TS segments made from stored media: made, cached (made before) or failed.",
		}, []string{"result"}),
		pictures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klive_origin_pictures_total", Help: "Thumbnails and posters made by ffmpeg: made, cached (made before) or failed.",
		}, []string{"result"}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.bytes, m.renders, m.rebuilds, m.transmuxes, m.pictures)
	}
	return m
}

// counter notes what was answered.
type counter struct {
	http.ResponseWriter
	code  int
	bytes int64
}

func (c *counter) WriteHeader(code int) {
	c.code = code
	c.ResponseWriter.WriteHeader(code)
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.bytes += int64(n)
	return n, err
}

// ReadFrom keeps the way open on which the kernel sends a file itself.
func (c *counter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(c.ResponseWriter, r)
	c.bytes += n
	return n, err
}

// Unwrap serves http.ResponseController.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
