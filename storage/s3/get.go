package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"klive/storage"
)

// maxResumes is how often in a row a body may break off without a byte in between.
const maxResumes = 3

// Get implements [storage.Store]. A body that breaks off or stalls is taken up again where it
// ended, as long as the object is the same.
func (s *Store) Get(ctx context.Context, key string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	if err := checked(ctx, key); err != nil {
		return nil, storage.Info{}, err
	}
	if r != nil && r.Offset < 0 {
		return nil, storage.Info{}, fmt.Errorf("%s: %w", key, storage.ErrRange)
	}
	b := &body{store: s, ctx: ctx, key: key}
	out, err := b.open(r, "")
	if err != nil {
		return nil, storage.Info{}, err
	}
	info := storage.Info{Key: key, ETag: aws.ToString(out.ETag), Modified: seconds(out.LastModified), Size: aws.ToInt64(out.ContentLength),
		ContentType: aws.ToString(out.ContentType), CacheControl: aws.ToString(out.CacheControl)}
	if out.ContentLength == nil {
		b.Close()
		return nil, storage.Info{}, fmt.Errorf("storage: s3: get %s: the store does not tell the size; is something between klive and it that recodes?", key)
	}
	b.etag, b.end = info.ETag, info.Size
	if r != nil {
		if info.Size, err = wholeSize(out, r.Offset); err != nil {
			b.Close()
			return nil, storage.Info{}, s.fail(call{op: opGet, key: key}, err, noRanges)
		}
		b.at, b.end = r.Offset, r.Offset+b.end
		if r.Length == 0 {
			b.end = b.at
		}
	}
	return b, info, nil
}

const noRanges = "the store, or something between klive and it, does not understand ranges"

// wholeSize reads the object's size from the answer to a range that begins at offset. It fails
// when the answer is not that range: RFC 9110 §14.2 lets a server send the whole object.
func wholeSize(out *s3.GetObjectOutput, offset int64) (size int64, err error) {
	text := aws.ToString(out.ContentRange)
	var first, last int64
	if _, err := fmt.Sscanf(text, "bytes %d-%d/%d", &first, &last, &size); err != nil || first != offset {
		return 0, fmt.Errorf("Content-Range is %.80q, want bytes from %d on", text, offset)
	}
	return size, nil
}

// rangeHeader writes a range as in RFC 9110 §14.1.2. An empty one can't be asked for: one byte
// of it tells whether it begins in the object.
func rangeHeader(r *storage.Range) *string {
	switch {
	case r == nil:
		return nil
	case r.Length < 0 || r.Offset > r.Offset+r.Length: // or more than can be counted
		return aws.String(fmt.Sprintf("bytes=%d-", r.Offset))
	}
	return aws.String(fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+max(r.Length, 1)-1))
}

// body is the stream of an object or of a range of it.
type body struct {
	store   *Store
	ctx     context.Context // of the caller of Get
	key     string
	etag    string
	at, end int64 // offsets in the object: of the next byte, behind the last

	from   io.ReadCloser
	cancel context.CancelCauseFunc
	broken int   // how often in a row it broke off
	err    error // sticky
}

// open asks for the object, or for a range of it if its ETag is still the given one.
func (b *body) open(r *storage.Range, etag string) (*s3.GetObjectOutput, error) {
	var out *s3.GetObjectOutput
	err := b.store.do(b.ctx, call{op: opGet, key: b.key}, func(limited context.Context) error {
		// The body lives on when the attempt is over, so the attempt's time ends it only until the
		// answer is there.
		ctx, cancel := context.WithCancelCause(b.ctx)
		attempt, release := b.store.once(limited, 0)
		defer release()
		stop := context.AfterFunc(attempt, func() { cancel(context.Cause(attempt)) })
		var err error
		out, err = b.store.client.GetObject(ctx, &s3.GetObjectInput{
			Bucket: b.store.bucket(), Key: b.store.object(b.key), Range: rangeHeader(r), IfMatch: optional(etag),
		})
		if !stop() && err == nil {
			out.Body.Close()
			err = errAttempt
		}
		if err != nil {
			cancel(nil)
			if attempt.Err() != nil && b.ctx.Err() == nil {
				err = errAttempt
			}
			if code, status := answer(err); code == codeFailed || status == 412 {
				err = fmt.Errorf("the object changed while it was read: %w", storage.ErrPrecondition)
			}
			return err
		}
		b.from, b.cancel = out.Body, cancel
		return nil
	})
	return out, err
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	for {
		if b.err != nil {
			return 0, b.err
		}
		if b.at == b.end {
			return 0, b.finish()
		}
		n, err := b.readOnce(p[:min(int64(len(p)), b.end-b.at)])
		if b.at += int64(n); n > 0 {
			b.broken = 0
			b.store.metrics.bytes.WithLabelValues("out").Add(float64(n))
		}
		if err != nil && b.at < b.end {
			b.err = b.resume(err)
		} else if isDamage(err) {
			b.err = b.damaged(err)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
}

// readOnce reads within the time that a body may stall.
func (b *body) readOnce(p []byte) (int, error) {
	stall := time.AfterFunc(b.store.cfg.Timeout, func() { b.cancel(errAttempt) })
	defer stall.Stop()
	return b.from.Read(p)
}

// finish is the end of the body: reading once more lets the SDK compare the checksum, if the
// store has one for it.
func (b *body) finish() error {
	b.err = io.EOF
	if n, err := b.readOnce(make([]byte, 1)); n == 0 && isDamage(err) {
		b.err = b.damaged(err)
	}
	return b.err
}

// isDamage recognises the SDK's complaint about a checksum, which has no type.
func isDamage(err error) bool {
	return err != nil && strings.Contains(err.Error(), "checksum did not match")
}

func (b *body) damaged(err error) error {
	return b.store.fail(call{op: opGet, key: b.key}, err, "the body is damaged")
}

// resume opens the rest of a body that broke off.
func (b *body) resume(cause error) error {
	b.close()
	b.broken++
	if b.ctx.Err() != nil {
		return fmt.Errorf("storage: s3: get %s: %w", b.key, b.ctx.Err())
	}
	if b.broken > maxResumes {
		return b.store.fail(call{op: opGet, key: b.key}, cause, fmt.Sprintf("the body broke off %d times", b.broken))
	}
	b.store.metrics.repeats.WithLabelValues(opGet.name, "body").Inc()
	out, err := b.open(&storage.Range{Offset: b.at, Length: b.end - b.at}, b.etag)
	if err != nil {
		return err
	}
	if _, err := wholeSize(out, b.at); err != nil {
		b.close()
		return b.store.fail(call{op: opGet, key: b.key}, err, noRanges)
	}
	return nil
}

func (b *body) close() {
	if b.from != nil {
		b.from.Close()
		b.cancel(nil)
		b.from = nil
	}
}

// Close implements [io.Closer].
func (b *body) Close() error {
	b.close()
	b.err = errClosed
	return nil
}

var errClosed = errors.New("storage: s3: read after Close")
