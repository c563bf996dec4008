package node

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"klive/gateway"
	"klive/infra/kaltura"
	"klive/workers/registrar"
)

// A call that the circuit breaker refuses is no answer, as gateways and registrars see it: they
// stand on what they hold and try again, and stop nothing.
func TestRefusedCallsAreNoAnswers(t *testing.T) {
	c, err := kaltura.NewClient(kaltura.ClientConfig{
		URL: "http://kaltura.test", AdminSecret: "0123456789abcdef", Hostname: "ms1", Breaker: kaltura.Breaker{Failures: 1},
		Transport: away{},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a := admissionAPI{client: c, partner: -5, log: slog.New(slog.DiscardHandler)}
	w := registrarAPI{client: c}
	call := registrar.Call{Partner: 102, Entry: "0_rkij47dr", Hostname: "ms1"}
	for i, ask := range []func() error{
		func() error { return errorOf(w.RegisterMediaServer(t.Context(), call)) }, // opens it
		func() error {
			return errorOf(a.Authenticate(t.Context(), gateway.AuthRequest{Partner: 102, Entry: "0_rkij47dr"}))
		},
		func() error {
			return errorOf(a.Ladder(t.Context(), gateway.LadderRequest{Partner: 102, Entry: "0_rkij47dr", StreamName: "0_rkij47dr_1", Suffix: 1, ConversionProfileID: 501}))
		},
		func() error { return errorOf(w.RegisterMediaServer(t.Context(), call)) },
		func() error { return errorOf(w.UnregisterMediaServer(t.Context(), call)) },
	} {
		err := ask()
		if i > 0 && !errors.Is(err, kaltura.ErrRefused) {
			t.Errorf("call %d was made: %v", i, err)
		}
		if err == nil || errors.As(err, new(*gateway.APIError)) || errors.Is(err, registrar.ErrRefused) || errors.Is(err, registrar.ErrBlocked) ||
			errors.Is(err, gateway.ErrNoOutputs) || errors.Is(err, gateway.ErrUnknownStream) {
			t.Errorf("call %d: %v counts as an answer", i, err)
		}
	}
}

// errorOf is the error among a call's results, its last one.
func errorOf(results ...any) error {
	err, _ := results[len(results)-1].(error)
	return err
}

type away struct{}

func (away) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }

// What a ladder can come from, by configuration, and what it says that it can't honour.
func TestLadderByConfiguration(t *testing.T) {
	h263 := strings.Replace(template, "</Encode>", `</Encode><Encode><Name>Old</Name><StreamName>0_rkij47dr_33</StreamName><Video><Codec>H.263</Codec></Video></Encode>`, 1)
	for _, c := range []struct {
		name       string
		byProfile  bool
		profile    int
		document   string
		calls      string
		says       string
		rungs      int
		noOutputs  bool
		assetsFail bool
	}{
		{"template", false, 501, template, "multirequest. flavorParams.get wowza_liveConversionProfile.serve", "", 1, false, false},
		{"profile", true, 501, "", "multirequest. flavorParams.get", "", 1, false, false},
		{"no profile", false, 0, template, "wowza_liveConversionProfile.serve", "", 1, false, false},
		{"an output that can't be made", false, 501, h263, "multirequest. flavorParams.get wowza_liveConversionProfile.serve", "output Old: video codec H.263", 1, false, false},
		{"none that can", false, 501, strings.ReplaceAll(h263, "<Codec>PassThru", "<Codec>H.263"), "multirequest. flavorParams.get wowza_liveConversionProfile.serve", "", 0, true, false},
		{"template without assets", false, 501, template, "multirequest. wowza_liveConversionProfile.serve", "can't load the entry's assets", 1, false, true},
		{"template not to be had", false, 501, apiError("SERVICE_DOES_NOT_EXISTS"), "multirequest. flavorParams.get wowza_liveConversionProfile.serve", "set kaltura.ladder to profile", 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := &buffer{}
			var calls []string
			a := admissionOf(t, -5, func(call string, _ url.Values) (string, string) {
				calls = append(calls, call)
				switch {
				case strings.HasPrefix(call, "multirequest") && c.assetsFail:
					return jsonType, apiError("SERVICE_FORBIDDEN")
				case strings.HasPrefix(call, "multirequest"):
					return jsonType, assets
				case call == "flavorParams.get":
					return jsonType, params
				}
				return xmlType, c.document
			})
			a.byProfile, a.log = c.byProfile, slog.New(slog.NewTextHandler(log, nil))
			l, err := a.Ladder(t.Context(), gateway.LadderRequest{Partner: 102, Entry: "0_rkij47dr", StreamName: "0_rkij47dr_1", Suffix: 1, ConversionProfileID: c.profile})
			if len(l.Rungs) != c.rungs || (err == nil) != (c.rungs > 0) || errors.Is(err, gateway.ErrNoOutputs) != c.noOutputs {
				t.Errorf("%+v, %v", l, err)
			}
			if got := strings.ReplaceAll(strings.Join(calls, " "), "multirequest ", "multirequest. "); got != c.calls {
				t.Errorf("calls %s, want %s", got, c.calls)
			}
			if c.says == "" && log.String() != "" || !strings.Contains(log.String(), c.says) {
				t.Errorf("the log says %s", log)
			}
		})
	}
}
