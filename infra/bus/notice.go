package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

const (
	// MaxNoticeBytes bounds the payload of a notice, request or reply.
	MaxNoticeBytes = 64 << 10

	noticeQueue  = 4096 // notices waiting for one subscription; more are dropped
	replyWorkers = 16   // requests that one subscription answers at once
	maxErrorText = 512

	headerError = "Klive-Error"
)

// Notice is a short message that nobody keeps: whoever is not subscribed when it
// is sent never sees it.
type Notice struct {
	Subject string
	Data    []byte
}

// ReplyError is the error that the answering side returned.
type ReplyError struct{ Text string }

func (e *ReplyError) Error() string { return "bus: the other side answers: " + e.Text }

// Subscription calls a function for what arrives, until it is closed.
type Subscription struct{ stop func() }

// Close ends the subscription and waits for the function's current calls, so it
// must not be called from within one.
func (s *Subscription) Close() { s.stop() }

// Notify sends a notice to all who are subscribed. A subject is parts joined by
// dots. While the connection is lost, notices fail with [ErrUnavailable] and are
// not sent later.
func (c *Control) Notify(subject string, data []byte) error {
	m, err := notice(subject, data)
	if err != nil {
		return err
	}
	return busError("notify "+subject, c.nc.PublishMsg(m))
}

// Subscribe calls f for each notice whose subject matches a pattern as in
// [Bucket.List], one at a time, in the order of arrival. When f is too slow,
// notices are dropped and the log says so.
func (c *Control) Subscribe(pattern string, f func(Notice)) (*Subscription, error) {
	wire, err := encodePattern(pattern)
	if err != nil {
		return nil, err
	}
	sub, err := c.nc.SubscribeSync(noticeSubject(wire))
	if err != nil {
		return nil, busError("subscribe to "+pattern, err)
	}
	return c.serve(sub, func(_ context.Context, m *nats.Msg) { f(noticeOf(m)) })
}

// Request sends a request and waits for the answer of one who has called
// [Control.Reply] for the subject. It returns [ErrNoReply] when there is nobody,
// and a [ReplyError] when the answer is an error.
func (c *Control) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	m, err := notice(subject, data)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	answer, err := c.nc.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("%w: %s", ErrNoReply, subject)
	case err != nil:
		return nil, busError("request "+subject, err)
	case answer.Header.Get(headerError) != "":
		return nil, &ReplyError{answer.Header.Get(headerError)}
	}
	return answer.Data, nil
}

// Reply calls f for each request whose subject matches pattern, up to sixteen at
// once, and sends back what it returns. Of several who reply to the same pattern,
// one gets each request. f's context ends with the subscription.
func (c *Control) Reply(pattern string, f func(context.Context, Notice) ([]byte, error)) (*Subscription, error) {
	wire, err := encodePattern(pattern)
	if err != nil {
		return nil, err
	}
	sub, err := c.nc.QueueSubscribeSync(noticeSubject(wire), "klive")
	if err != nil {
		return nil, busError("reply to "+pattern, err)
	}
	room := make(chan struct{}, replyWorkers)
	var answering sync.WaitGroup
	s, err := c.serve(sub, func(ctx context.Context, m *nats.Msg) {
		room <- struct{}{}
		answering.Go(func() {
			defer func() { <-room }()
			data, err := f(ctx, noticeOf(m))
			c.answer(m, data, err)
		})
	})
	if err != nil {
		return nil, err
	}
	return &Subscription{stop: func() { s.stop(); answering.Wait() }}, nil
}

// answer sends a reply; when that fails the asking side runs into its time limit.
func (c *Control) answer(m *nats.Msg, data []byte, err error) {
	reply := &nats.Msg{Subject: m.Reply, Data: data}
	if err == nil && len(data) > MaxNoticeBytes {
		err = fmt.Errorf("%w: answer of %d bytes, at most %d", ErrTooLarge, len(data), MaxNoticeBytes)
	}
	if err != nil {
		reply.Data = nil
		reply.Header = nats.Header{headerError: {oneLine(err.Error())}}
	}
	if m.Reply == "" {
		return
	}
	if err := c.nc.PublishMsg(reply); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		c.log.Warn("bus: an answer could not be sent", "subject", m.Subject, "error", err)
	}
}

// serve owns a subscription: it hands its messages to f until it is stopped.
func (c *Control) serve(sub *nats.Subscription, f func(context.Context, *nats.Msg)) (*Subscription, error) {
	err := sub.SetPendingLimits(noticeQueue, noticeQueue*MaxNoticeBytes/16)
	if err != nil {
		return nil, busError("subscribe", err)
	}
	stop, err := c.run(func(ctx context.Context) {
		defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
		for {
			m, err := sub.NextMsgWithContext(ctx)
			switch {
			case err == nil:
				f(ctx, m)
			case errors.Is(err, nats.ErrSlowConsumer):
				c.log.Warn("bus: notices were dropped because they are read too slowly", "subject", sub.Subject)
			default:
				return // stopped or closed
			}
		}
	})
	if err != nil {
		_ = sub.Unsubscribe()
		return nil, err
	}
	return &Subscription{stop: stop}, nil
}

func notice(subject string, data []byte) (*nats.Msg, error) {
	wire, err := encodeKey(subject)
	if err != nil {
		return nil, err
	}
	if len(data) > MaxNoticeBytes {
		return nil, fmt.Errorf("%w: notice %s: %d bytes, at most %d", ErrTooLarge, subject, len(data), MaxNoticeBytes)
	}
	return &nats.Msg{Subject: noticeSubject(wire), Data: data}, nil
}

func noticeSubject(wire string) string { return "klive.notice." + wire }

func noticeOf(m *nats.Msg) Notice {
	return Notice{Subject: decodeKey(strings.TrimPrefix(m.Subject, noticeSubject(""))), Data: m.Data}
}

// oneLine makes a text fit for a header.
func oneLine(text string) string {
	text = strings.NewReplacer("\r", " ", "\n", " ").Replace(text)
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "")
	}
	if strings.TrimSpace(text) == "" {
		return "error without words"
	}
	return text
}
