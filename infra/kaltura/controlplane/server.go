package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/kaltura"
)

// Generation says which server's behaviour is followed where they differ.
type Generation string

// The generations of contract §0.
const (
	GenerationNow  Generation = "now"
	Generation2015 Generation = "2015"
)

// Config is what [New] needs. State is the only field without a default.
type Config struct {
	State State
	// Files keeps uploaded files. Nil: uploads fail.
	Files Files
	// Recorded is where recorded files come from. Nil: files can't be joined or watched.
	Recorded RecordedFiles
	// FFmpeg is the program that joins recorded files, Work a folder of its own for what it works
	// on, which is emptied at the start (default the system's for temporary files).
	FFmpeg, Work string
	// WorkRoom says why so many bytes more may not lie in Work, whose disk others need; nil when
	// they may. A nil func has always room.
	WorkRoom func(bytes int64) error
	// AcceptURLResource lets appendRecording fetch files from addresses, which Kaltura's own
	// does not.
	AcceptURLResource bool
	// UploadIdle is how long an upload may bring nothing (default 30 s), UploadKeep how long
	// an uploaded file waits to be used (default a day).
	UploadIdle, UploadKeep time.Duration
	// Partner are the limits of the demonstration partner; nil is none.
	Partner *PartnerLimits
	// Secret is the administrator's secret of the demonstration partner 102; empty draws
	// one at the first start and keeps it. A secret given later replaces the kept one.
	Secret string
	// MediaServerSecret is the same for the media server partner -5.
	MediaServerSecret string
	// PublicHost is the host name or address in the URLs that entries carry; default
	// 127.0.0.1.
	PublicHost string
	// RTMPPort is where encoders publish; default 1935. RTMPSPort and SRTPort 0 leave those
	// URLs out.
	RTMPPort, RTMPSPort, SRTPort int
	// IngestURL is the scheme, host, port and application where encoders publish, when the
	// host and port above do not say.
	IngestURL string
	// PlaybackURL is the scheme, host and port that players use; default
	// http://<PublicHost>:8080.
	PlaybackURL string
	// Application is the RTMP application in the URLs; default kLive.
	Application string
	// RequireServerNode refuses media servers that never reported their status.
	RequireServerNode bool
	// Generation defaults to GenerationNow.
	Generation Generation
	// Alive is how long a registration lasts without a call (default 120 s), Sweep how
	// often lapsed ones are removed (default 30 s).
	Alive, Sweep time.Duration
	Limits       Limits
	// ProbeLive says whether a playlist address answers as live, see [NewProbe]; it is asked
	// in Generation2015 before a second encoder is admitted. Nil: no address is live.
	ProbeLive func(ctx context.Context, url string) bool
	// Hostname names this server in the X-Me header; default the host's name.
	Hostname string
	// Logger defaults to silence, Registerer to no metrics.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() (Config, error) {
	if c.State == nil {
		return c, errors.New("control plane: no state given")
	}
	if c.PublicHost == "" {
		c.PublicHost = "127.0.0.1"
	}
	if c.RTMPPort == 0 {
		c.RTMPPort = 1935
	}
	if c.PlaybackURL == "" {
		c.PlaybackURL = "http://" + hostPort(c.PublicHost, 8080)
	}
	if c.Application == "" {
		c.Application = "kLive"
	}
	switch c.Generation {
	case "":
		c.Generation = GenerationNow
	case GenerationNow, Generation2015:
	default:
		return c, fmt.Errorf("control plane: generation %q is unknown; use %q or %q", c.Generation, GenerationNow, Generation2015)
	}
	if c.Alive == 0 {
		c.Alive = 120 * time.Second
	}
	if c.Sweep == 0 {
		c.Sweep = 30 * time.Second
	}
	if c.UploadIdle == 0 {
		c.UploadIdle = 30 * time.Second
	}
	if c.UploadKeep == 0 {
		c.UploadKeep = 24 * time.Hour
	}
	if c.Hostname == "" {
		c.Hostname, _ = os.Hostname()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults()
	return c, nil
}

// Server answers /api_v3. It is an http.Handler, safe for concurrent use.
type Server struct {
	config   Config
	state    State
	log      *slog.Logger
	services map[string]map[string]*action
	metrics  *metrics
	// uploads holds a place for each file that comes in.
	uploads chan struct{}
	// joins says that files were appended.
	joins    chan struct{}
	setbacks setbacks
	stop     context.CancelFunc
	sweeping sync.WaitGroup
}

// New makes a server, writes the demonstration data at the first start and starts the
// sweeper of lapsed registrations. Close ends it.
func New(ctx context.Context, config Config) (*Server, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{config: config, state: config.State, log: config.Logger, services: services(table()), uploads: make(chan struct{}, config.Limits.Uploads), joins: make(chan struct{}, 1),
		setbacks: setbacks{log: config.Logger, pause: config.Sweep, of: map[task]setback{}}}
	if s.metrics, err = newMetrics(config.Registerer); err != nil {
		return nil, err
	}
	if err := s.seed(ctx); err != nil {
		return nil, fmt.Errorf("control plane: first data: %w", err)
	}
	if config.Work != "" {
		if err := os.RemoveAll(config.Work); err != nil {
			return nil, fmt.Errorf("control plane: what was being joined when it ended: %w", err)
		}
	}
	// The sweeper outlives the context of the start.
	sweep, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.sweeping.Go(func() { s.sweep(sweep) })
	s.sweeping.Go(func() { s.joinAll(sweep) })
	return s, nil
}

// Close stops the sweeper and waits for it. Calls under way are the HTTP server's to end.
func (s *Server) Close() {
	s.stop()
	s.sweeping.Wait()
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	s.commonHeaders(w.Header())
	switch r.Method {
	case http.MethodOptions:
		preflight(w)
		return
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		w.Header().Set("Allow", "POST, GET, HEAD, OPTIONS")
		http.Error(w, "use GET or POST", http.StatusMethodNotAllowed)
		return
	}
	q, err := readRequest(r, s.config.Limits, s.receiver(w, r))
	defer s.drop(r.Context(), q.files)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.answer(w, r, q, started)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, q request, started time.Time) {
	sh, err := shapeOf(q.params, started)
	var results []result
	switch {
	case err != nil:
		results = []result{{err: s.apiError(&call{}, err)}}
	case isMulti(q.params):
		sh.multi = true
		if results, err = s.multi(r.Context(), q); err != nil {
			s.refuse(w, r, err)
			return
		}
	default:
		results = []result{s.run(r.Context(), q.from, q.params, q.files)}
	}
	if n := len(results); n > 0 {
		if last := results[n-1]; last.isFile() {
			writeFile(w, r, last)
			return
		}
	}
	for _, res := range results {
		if res.err != nil && !sh.multi && strings.HasPrefix(res.err.Code, kaltura.CodeForbidden) {
			w.Header().Set("X-Kaltura", "error-"+res.err.Code)
			w.Header().Set("X-Kaltura-App", "exiting on error "+res.err.Code)
		}
		if res.err == nil && !sh.multi && res.public > 0 {
			w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(int(res.public/time.Second)))
			w.Header().Del("Pragma")
		}
	}
	write(w, r, sh.contentType(), sh.render(results, s.argClass()))
}

// isFile says whether the result is sent as a file, or as the error of a file action.
// Errors from before the action ran come in the envelope (contract §1.7).
func (r result) isFile() bool {
	return r.file != nil || r.err != nil && r.action != nil && r.action.file && r.ran
}

func (s *Server) argClass() string {
	if s.config.Generation == Generation2015 {
		return "KalturaAPIExceptionArg"
	}
	return "KalturaApiExceptionArg"
}

func isMulti(params kaltura.Node) bool {
	return strings.EqualFold(text(params, "service"), "multirequest")
}

func (s *Server) commonHeaders(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", "no-store, no-cache, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("X-Me", s.config.Hostname)
	h.Set("X-Kaltura-Session", randomHex(8))
}

func preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "POST, GET, HEAD, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Origin, X-Requested-With, Content-Type, Accept, Range, Cache-Control")
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}

// refuse answers a request that cannot be read as a call.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusBadRequest
	var tooLarge *http.MaxBytesError
	var storing *storeError
	switch {
	case errors.As(err, &storing):
		status = http.StatusServiceUnavailable
		s.log.Error("an upload could not be stored", "peer", r.RemoteAddr, "err", storing.err)
		err = errors.New("the file could not be stored; try again later")
	case errors.As(err, &tooLarge):
		status, err = http.StatusRequestEntityTooLarge, fmt.Errorf("the request body is larger than %d bytes", tooLarge.Limit)
	case !errors.Is(err, errTooMany) && !errors.Is(err, errBody) && !errors.Is(err, errAnswer):
		err = errors.New("the request body could not be read")
	}
	s.log.Warn("control plane request refused", "peer", r.RemoteAddr, "status", status, "reason", err)
	w.Header().Set("Connection", "close")
	http.Error(w, err.Error(), status)
}
