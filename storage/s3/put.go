package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"klive/storage"
)

// metaWrite is the metadata that holds the write id of a conditional write.
const metaWrite = "klive-write"

// Put implements [storage.Store]. When the condition fails because an earlier attempt of this
// very call was the one that wrote, the call succeeds. An error other than ErrPrecondition
// leaves open whether the object was written.
func (s *Store) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	if err := checked(ctx, key); err != nil {
		return storage.Info{}, err
	}
	c := call{op: opPut, key: key}
	for _, d := range data {
		c.size += int64(len(d))
	}
	w := newWrite(key, opt)
	var info storage.Info
	err := s.do(ctx, c, func(ctx context.Context) error {
		ctx, cancel := s.once(ctx, c.size)
		defer cancel()
		var err error
		if info, err = s.putOnce(ctx, w, data); w.id != "" && isCondition(err) {
			info, err = s.readBack(ctx, w)
		}
		return err
	})
	if err != nil {
		return storage.Info{}, err
	}
	s.metrics.bytes.WithLabelValues("in").Add(float64(c.size))
	return info, nil
}

// write is an object about to be written on a condition, by Put or by an upload.
type write struct {
	key             string
	opt             storage.PutOptions
	id              string // "" without a condition
	ifNone, ifMatch *string
}

func newWrite(key string, opt storage.PutOptions) write {
	w := write{key: key, opt: opt, ifMatch: optional(opt.IfMatch)}
	if opt.IfAbsent {
		w.ifNone = aws.String("*")
	}
	if opt.IfAbsent || opt.IfMatch != "" {
		w.id = writeID()
	}
	return w
}

// metadata is what a read-back looks for.
func (w *write) metadata() map[string]string {
	if w.id == "" {
		return nil
	}
	return map[string]string{metaWrite: w.id}
}

func (s *Store) putOnce(ctx context.Context, w write, data [][]byte) (storage.Info, error) {
	body := newPieces(data)
	defer body.detach()
	out, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: s.bucket(), Key: s.object(w.key), Body: body, ContentLength: aws.Int64(body.size),
		ContentType: optional(w.opt.ContentType), CacheControl: optional(w.opt.CacheControl),
		IfNoneMatch: w.ifNone, IfMatch: w.ifMatch, Metadata: w.metadata(),
		ServerSideEncryption: types.ServerSideEncryption(s.cfg.Encryption), SSEKMSKeyId: optional(s.cfg.KMSKey),
	})
	if err == nil {
		return storage.Info{Key: w.key, Size: body.size, ETag: aws.ToString(out.ETag)}, nil
	}
	if w.ifMatch != nil && isMissing(err) {
		err = fmt.Errorf("there is no object: %w", storage.ErrPrecondition)
	}
	return storage.Info{}, err
}

// readBack looks at the object that a conditional write ran into. It is success when the write
// itself put it there: an attempt whose answer was lost, here or in a proxy on the way. It is
// errAgain when the condition holds after all, as it may after a conflict (409) with a write
// or a delete at the same time.
//
// A write on IfMatch that was replaced by the next one before it could be read back counts as
// failed: the object is not what it wrote.
func (s *Store) readBack(ctx context.Context, w write) (storage.Info, error) {
	info, id, err := s.head(ctx, w.key)
	switch {
	case errors.Is(err, storage.ErrNotFound) && w.opt.IfAbsent:
		return storage.Info{}, errAgain
	case errors.Is(err, storage.ErrNotFound):
		return storage.Info{}, fmt.Errorf("there is no object: %w", storage.ErrPrecondition)
	case err != nil:
		return storage.Info{}, err
	case id == w.id:
		s.cfg.Logger.Info("s3: a write whose answer was lost had succeeded", "key", w.key)
		return info, nil
	case w.opt.IfMatch != "" && info.ETag == w.opt.IfMatch:
		return storage.Info{}, errAgain
	}
	return storage.Info{}, fmt.Errorf("the object has the ETag %s: %w", info.ETag, storage.ErrPrecondition)
}

// head describes an object, with the id of its write.
func (s *Store) head(ctx context.Context, key string) (storage.Info, string, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: s.bucket(), Key: s.object(key)})
	if isMissing(err) {
		return storage.Info{}, "", fmt.Errorf("%s: %w", key, storage.ErrNotFound)
	}
	if _, status := answer(err); status == http.StatusForbidden {
		// What failed is this reading, not the write that it is for.
		err = s.explain(call{op: opHead, key: key}, err)
	}
	if err != nil {
		return storage.Info{}, "", err
	}
	info := storage.Info{Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag), Modified: seconds(out.LastModified),
		ContentType: aws.ToString(out.ContentType), CacheControl: aws.ToString(out.CacheControl)}
	return info, out.Metadata[metaWrite], nil
}

// seconds cuts a time to what the Last-Modified header tells, so that a list and a get agree.
func seconds(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Truncate(time.Second).UTC()
}
