package check

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A scenario is a text of one statement a line; '#' begins a comment. Times are durations
// from the scenario's start.
//
//	set broadcast.resume 20s                a configuration key of the service
//	node G1 gateway                         a process with these roles; without nodes there is one
//	node W2 worker start=20s                process that has them all
//	encoder A rtmp 1280x720@30 gop=2s       an encoder, on the air from the start
//	at 12s drop A 4s                        its connection breaks; it is back after 4 s
//	at 20s gap A 4s                         nothing arrives for 4 s; its clock goes on
//	at 40s wrap A                           its 32-bit timestamps pass zero
//	at 20s jump A +10s                      its clock jumps
//	at 20s delay A audio 300ms              from here on, audio is interleaved that much late
//	at 30s size A 1920x1080                 another picture size from the next keyframe on
//	at 10s join A audio                     audio begins (with audio=late)
//	at 50s stop A                           it ends in order
//	at 60s start A                          it publishes (again)
//	at 40s kill W2                          a node vanishes, as by SIGKILL
//	at 40s end W2                           a node is told to end, as by SIGTERM
//	at 60s away api 10m                     Kaltura's API can't be reached for 10 minutes
//	at 60s refuse api registerMediaServer SERVICE_FORBIDDEN
//	                                        from here on the API answers that action with the error
//	at 60s pin backup                       an operator prefers an encoder: primary, backup or auto
//	run 120s                                the length; the service is watched till then
//	expect playlist continuous              see expect.go
//
// An encoder's options follow its picture: gop=, fps-mode=cfr|vfr, bframes=, bitrate= (bit/s,
// with k or M), sets=once|repeat, audio=<Hz>|none|late, video=none, channels=, index=,
// suffix=, entry=, token=, start=<time of its first connect>|never, clock=<first timestamp in ms>,
// node=<the gateway that it connects to>.
type Scenario struct {
	Settings []Setting
	Nodes    []NodeSpec
	Encoders []EncoderSpec
	Events   []Event
	Run      time.Duration
	Expects  []Expect
}

// Setting is a configuration key with its value.
type Setting struct{ Key, Value string }

// EncoderSpec describes an encoder.
type EncoderSpec struct {
	Name          string
	Protocol      string
	Width, Height int
	FPSNum        int
	FPSDen        int
	GOP           time.Duration
	BFrames       int
	Bitrate       int
	VariableRate  bool
	RepeatSets    bool
	SampleRate    int
	Channels      int
	NoVideo       bool
	NoAudio       bool
	AudioLate     bool
	Index, Suffix int
	Entry, Token  string
	Start         time.Duration
	StartNever    bool
	Clock         uint32
	Node          string
}

// Event is something that happens to an encoder, or to the service.
type Event struct {
	At time.Duration
	// Encoder is empty for what happens to the service.
	Encoder string
	Verb    string
	// Node is the one that is killed or told to end; Action and Code are of refuse, Index of pin.
	Node, Action, Code, Index string
	// For is a length of time: of a drop or gap (0: for good), of a jump (signed), of a delay, of
	// an API that is away.
	For time.Duration
	// Track is "audio" or "video".
	Track         string
	Width, Height int
}

// Expect is a statement about the outcome.
type Expect struct {
	Line    int
	Subject string
	Op      string // "=", ">=", "<=", ">", "<"
	Value   string
}

// SyntaxError says where a scenario is wrong.
type SyntaxError struct {
	Line, Column int // from 1
	Text         string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
}

// Bounds of a scenario's text.
const (
	maxScenario = 64 << 10 // bytes
	maxRun      = 24 * time.Hour
)

// ParseScenario reads a scenario. Its errors are *SyntaxError.
func ParseScenario(text string) (*Scenario, error) {
	if len(text) > maxScenario {
		return nil, &SyntaxError{1, 1, "a scenario is at most 64 KB"}
	}
	p := parser{scenario: &Scenario{}}
	for raw := range strings.Lines(text) {
		p.line++
		p.split(raw)
		if len(p.words) == 0 {
			continue
		}
		if err := p.statement(); err != nil {
			return nil, err
		}
	}
	return p.scenario, p.complete()
}

type word struct {
	text   string
	column int
}

type parser struct {
	scenario *Scenario
	line     int
	words    []word
	last     word // the word taken last, for errors
}

// split cuts a line into words. A word in double quotes may hold blanks.
func (p *parser) split(raw string) {
	p.words, p.last = nil, word{column: 1}
	raw = strings.TrimRight(raw, "\r\n")
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == ' ' || c == '\t':
			i++
		case c == '#':
			return
		case c == '"':
			end := strings.IndexByte(raw[i+1:], '"')
			if end < 0 {
				end = len(raw) - i - 1
			}
			p.words = append(p.words, word{raw[i+1 : i+1+end], i + 1})
			i += end + 2
		default:
			end := strings.IndexAny(raw[i:], " \t#")
			if end < 0 {
				end = len(raw) - i
			}
			p.words = append(p.words, word{raw[i : i+end], i + 1})
			i += end
		}
	}
}

func (p *parser) fail(format string, args ...any) error {
	return &SyntaxError{p.line, p.last.column, fmt.Sprintf(format, args...)}
}

// take returns the next word; what names it for the error.
func (p *parser) take(what string) (string, error) {
	if len(p.words) == 0 {
		p.last.column += len(p.last.text)
		return "", p.fail("%s is missing", what)
	}
	p.last, p.words = p.words[0], p.words[1:]
	return p.last.text, nil
}

func (p *parser) duration(what string) (time.Duration, error) {
	text, err := p.take(what)
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	if err != nil || d.Abs() > maxRun {
		return 0, p.fail("%s is a duration like 4s or 300ms, at most %v, not %q", what, maxRun, text)
	}
	return d, nil
}

func (p *parser) statement() error {
	verb, _ := p.take("a statement")
	var err error
	switch verb {
	case "set":
		err = p.setting()
	case "node":
		err = p.node()
	case "encoder":
		err = p.encoder()
	case "at":
		err = p.event()
	case "run":
		err = p.run()
	case "expect":
		err = p.expect()
	default:
		err = p.fail("a statement begins with set, node, encoder, at, run or expect, not %q", verb)
	}
	if err == nil && len(p.words) > 0 {
		rest, _ := p.take("")
		err = p.fail("%q is too much here", rest)
	}
	return err
}

func (p *parser) setting() error {
	key, err := p.take("a configuration key")
	if err != nil {
		return err
	}
	value, err := p.take("its value")
	p.scenario.Settings = append(p.scenario.Settings, Setting{key, value})
	return err
}

func (p *parser) run() error {
	if p.scenario.Run != 0 {
		return p.fail("there is one run statement")
	}
	d, err := p.duration("the length")
	if err == nil && d <= 0 {
		err = p.fail("a run takes some time")
	}
	p.scenario.Run = d
	return err
}

// complete checks what only the whole text shows.
func (p *parser) complete() error {
	s := p.scenario
	p.last = word{column: 1}
	if s.Run == 0 {
		return p.fail("a run statement is missing")
	}
	if len(s.Encoders) == 0 {
		return p.fail("an encoder is missing")
	}
	slices.SortStableFunc(s.Events, func(a, b Event) int { return int(a.At - b.At) })
	return p.place()
}

// verbs are the events and what they take: d a length, D a length that may be left out, j a
// signed one, t a track, s a size.
var verbs = map[string]string{
	"start": "", "stop": "", "wrap": "", "drop": "D", "gap": "d", "jump": "j", "size": "s", "join": "t", "delay": "td",
}

func (p *parser) event() error {
	at, err := p.duration("the moment")
	if err != nil {
		return err
	}
	e := Event{At: at}
	if e.Verb, err = p.take("what happens"); err != nil {
		return err
	}
	if _, ok := happenings[e.Verb]; ok && at >= 0 {
		return p.happening(&e)
	}
	takes, ok := verbs[e.Verb]
	if !ok || at < 0 {
		return p.fail("%q can't happen at %v: there are drop, gap, jump, wrap, delay, size, join, stop and start, and kill, end, away, refuse and pin", e.Verb, at)
	}
	if e.Encoder, err = p.take("an encoder"); err != nil {
		return err
	}
	if !slices.ContainsFunc(p.scenario.Encoders, func(s EncoderSpec) bool { return s.Name == e.Encoder }) {
		return p.fail("there is no encoder %q above this line", e.Encoder)
	}
	for _, kind := range takes {
		if err := p.argument(&e, kind); err != nil {
			return err
		}
	}
	p.scenario.Events = append(p.scenario.Events, e)
	return nil
}

func (p *parser) argument(e *Event, kind rune) (err error) {
	switch kind {
	case 'D', 'd', 'j':
		if kind == 'D' && len(p.words) == 0 {
			return nil
		}
		if e.For, err = p.duration("how long"); err == nil && e.For < 0 && kind != 'j' {
			err = p.fail("a length is not below 0")
		}
	case 't':
		if e.Track, err = p.take("audio or video"); err == nil && e.Track != "audio" && e.Track != "video" {
			err = p.fail("a track is audio or video, not %q", e.Track)
		}
	case 's':
		var size string
		if size, err = p.take("a size"); err == nil {
			e.Width, e.Height, err = p.size(size)
		}
	}
	return err
}

func (p *parser) size(text string) (width, height int, err error) {
	w, h, ok := strings.Cut(text, "x")
	width, errW := strconv.Atoi(w)
	height, errH := strconv.Atoi(h)
	if !ok || errW != nil || errH != nil {
		return 0, 0, p.fail("a size looks like 1280x720, not %q", text)
	}
	return width, height, nil
}

func (p *parser) expect() error {
	e := Expect{Line: p.line, Op: "="}
	first, err := p.take("what is expected")
	if err != nil {
		return err
	}
	e.Subject = first
	if _, ok := subjects[first]; !ok && len(p.words) > 0 {
		second, _ := p.take("")
		e.Subject = first + " " + second
	}
	kind, ok := subjects[e.Subject]
	if !ok {
		return p.fail("nothing is known of %q; there are %s", e.Subject, subjectNames())
	}
	if kind == holds {
		p.scenario.Expects = append(p.scenario.Expects, e)
		return nil
	}
	value, err := p.take("a value")
	if err != nil {
		return err
	}
	if slices.Contains([]string{">=", "<=", ">", "<", "="}, value) {
		e.Op = value
		if value, err = p.take("a value"); err != nil {
			return err
		}
	}
	e.Value = value
	if err := kind.check(value); err != nil {
		return p.fail("%s: %v", e.Subject, err)
	}
	p.scenario.Expects = append(p.scenario.Expects, e)
	return nil
}

var errValue = errors.New("not a value of this kind")
