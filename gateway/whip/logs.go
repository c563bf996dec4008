package whip

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// logs takes what the WebRTC library says to the log, as details: what matters to operators is
// said by the sessions.
type logs struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (l logs) NewLogger(scope string) logging.LeveledLogger {
	return leveled{l.log.With("part", "webrtc/"+scope)}
}

type leveled struct{ log *slog.Logger }

func (l leveled) say(format string, args []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (l leveled) Trace(string)                      {}
func (l leveled) Tracef(string, ...any)             {}
func (l leveled) Debug(string)                      {}
func (l leveled) Debugf(string, ...any)             {}
func (l leveled) Info(msg string)                   { l.say("%s", []any{msg}) }
func (l leveled) Infof(format string, args ...any)  { l.say(format, args) }
func (l leveled) Warn(msg string)                   { l.say("%s", []any{msg}) }
func (l leveled) Warnf(format string, args ...any)  { l.say(format, args) }
func (l leveled) Error(msg string)                  { l.say("%s", []any{msg}) }
func (l leveled) Errorf(format string, args ...any) { l.say(format, args) }
