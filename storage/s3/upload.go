package s3

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"klive/storage"
)

const (
	// partSize in bytes; S3 wants 5 MiB or more for all parts but the last.
	partSize = 8 << 20
	// maxBuffers is how many parts of an upload are in memory: one is filled, the others travel.
	maxBuffers = storage.MaxUploadMemory/partSize - 1
	// maxParts is S3's limit; with partSize it is 78 GiB.
	maxParts = 10000
	// joinFactor is how much faster than sending them stores join parts at least. Some copy them.
	joinFactor = 4
)

// Upload implements [storage.Uploader]: an S3 multipart upload, or a plain put of what fits
// into one part. A process that dies leaves its parts in the bucket, where they cost money but
// are not seen: a lifecycle rule AbortIncompleteMultipartUpload removes them.
func (s *Store) Upload(ctx context.Context, key string, opt storage.PutOptions) (storage.Upload, error) {
	if err := checked(ctx, key); err != nil {
		return nil, err
	}
	u := &upload{store: s, write: newWrite(key, opt), free: make(chan []byte, maxBuffers)}
	if u.write.id == "" {
		u.write.id = writeID() // for the answer to Commit that gets lost
	}
	u.ctx, u.cancel = context.WithCancel(ctx)
	return u, nil
}

// upload is one object on its way.
type upload struct {
	store  *Store
	write  write
	ctx    context.Context // of the parts
	cancel context.CancelFunc

	over, done bool   // Commit or Abort was called; nothing is left to abort
	id         string // S3's, "" before the first part
	buffer     []byte // the part that is filled
	buffers    int    // how many were made
	free       chan []byte
	size       int64
	sending    sync.WaitGroup

	// mu guards the fields below, which the parts on their way set.
	mu    sync.Mutex
	parts []types.CompletedPart
	err   error // the first of a part
}

// Write implements [storage.Upload].
func (u *upload) Write(p []byte) (int, error) {
	if u.over {
		return 0, storage.ErrUploadOver
	}
	written := 0
	for len(p) > 0 {
		if err := u.failed(); err != nil {
			return written, err
		}
		if u.buffer == nil {
			u.buffer = u.nextBuffer()
		}
		n := min(len(p), partSize-len(u.buffer))
		u.buffer = append(u.buffer, p[:n]...)
		p, written = p[n:], written+n
		u.size += int64(n)
		if len(u.buffer) == partSize {
			if err := u.send(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// nextBuffer returns an empty buffer. It waits for a part to arrive when all are under way;
// parts end when the upload's context does.
func (u *upload) nextBuffer() []byte {
	if len(u.free) == 0 && u.buffers < maxBuffers {
		u.buffers++
		return make([]byte, 0, partSize)
	}
	return (<-u.free)[:0]
}

// failed returns why the upload can't go on.
func (u *upload) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil && u.ctx.Err() != nil {
		u.err = fmt.Errorf("storage: s3: upload %s: %w", u.write.key, u.ctx.Err())
	}
	return u.err
}

func (u *upload) fail(err error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
	}
	return u.err
}

// send starts sending the buffer as the next part.
func (u *upload) send() error {
	if u.id == "" {
		if err := u.begin(); err != nil {
			return u.fail(err)
		}
	}
	data := u.buffer
	u.buffer = nil
	u.mu.Lock()
	defer u.mu.Unlock()
	index := len(u.parts)
	if index == maxParts {
		u.err = fmt.Errorf("storage: s3: upload %s: longer than %d parts of %d MiB, end it earlier", u.write.key, maxParts, partSize>>20)
		return u.err
	}
	u.parts = append(u.parts, types.CompletedPart{PartNumber: aws.Int32(int32(index + 1))})
	u.sending.Go(func() {
		if err := u.part(index, data); err != nil {
			u.fail(err)
		}
		u.free <- data
	})
	return nil
}

// begin gets the upload's id.
func (u *upload) begin() error {
	s, w := u.store, &u.write
	return s.do(u.ctx, call{op: opBegin, key: w.key}, func(ctx context.Context) error {
		ctx, cancel := s.once(ctx, 0)
		defer cancel()
		out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
			Bucket: s.bucket(), Key: s.object(w.key), Metadata: w.metadata(), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
			ContentType: optional(w.opt.ContentType), CacheControl: optional(w.opt.CacheControl),
			ServerSideEncryption: types.ServerSideEncryption(s.cfg.Encryption), SSEKMSKeyId: optional(s.cfg.KMSKey),
		})
		if err == nil {
			u.id = aws.ToString(out.UploadId)
		}
		return err
	})
}

// part sends one part. Sending it again replaces it.
func (u *upload) part(index int, data []byte) error {
	s, size := u.store, int64(len(data))
	var out *s3.UploadPartOutput
	err := s.do(u.ctx, call{op: opPart, key: u.write.key, size: size}, func(ctx context.Context) error {
		ctx, cancel := s.once(ctx, size)
		defer cancel()
		body := newPieces([][]byte{data})
		defer body.detach()
		var err error
		out, err = s.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: s.bucket(), Key: s.object(u.write.key), UploadId: &u.id, PartNumber: aws.Int32(int32(index + 1)),
			Body: body, ContentLength: &size, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
		})
		return err
	})
	if err != nil {
		return err
	}
	s.metrics.bytes.WithLabelValues("in").Add(float64(size))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts[index].ETag, u.parts[index].ChecksumCRC32 = out.ETag, out.ChecksumCRC32
	return nil
}

// Commit implements [storage.Upload].
func (u *upload) Commit(ctx context.Context) (storage.Info, error) {
	if u.over {
		return storage.Info{}, storage.ErrUploadOver
	}
	u.over = true
	defer context.AfterFunc(ctx, u.cancel)()
	if err := u.failed(); err != nil {
		return storage.Info{}, err
	}
	if u.id == "" {
		info, err := u.store.Put(ctx, u.write.key, [][]byte{u.buffer}, u.write.opt)
		u.release()
		return info, err
	}
	if len(u.buffer) > 0 {
		if err := u.send(); err != nil {
			return storage.Info{}, err
		}
	}
	u.sending.Wait()
	if err := u.failed(); err != nil {
		return storage.Info{}, err
	}
	info, err := u.complete(ctx)
	if err == nil {
		u.release()
	}
	return info, err
}

// complete makes one object of the parts, in the manner of Put.
func (u *upload) complete(ctx context.Context) (storage.Info, error) {
	s, w := u.store, u.write
	var info storage.Info
	joined := u.size / joinFactor
	err := s.do(ctx, call{op: opComplete, key: w.key, size: joined}, func(ctx context.Context) error {
		ctx, cancel := s.once(ctx, joined)
		defer cancel()
		out, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: s.bucket(), Key: s.object(w.key), UploadId: &u.id, IfNoneMatch: w.ifNone, IfMatch: w.ifMatch,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
		})
		code, _ := answer(err)
		switch {
		case err == nil:
			info = storage.Info{Key: w.key, Size: u.size, ETag: aws.ToString(out.ETag)}
		case isCondition(err) && (w.ifNone != nil || w.ifMatch != nil):
			info, err = s.readBack(ctx, w)
		case code == codeNoUpload:
			info, err = u.gone(ctx, err)
		case w.ifMatch != nil && isMissing(err):
			err = fmt.Errorf("there is no object: %w", storage.ErrPrecondition)
		}
		return err
	})
	if err != nil {
		return storage.Info{}, err
	}
	return info, nil
}

// gone is for an upload that S3 does not know any more: an attempt whose answer was lost has
// completed it, or somebody aborted it.
func (u *upload) gone(ctx context.Context, cause error) (storage.Info, error) {
	info, id, err := u.store.head(ctx, u.write.key)
	if err == nil && id == u.write.id {
		return info, nil
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return storage.Info{}, err
	}
	return storage.Info{}, cause
}

// release gives memory and context back when nothing is left in the bucket to remove.
func (u *upload) release() {
	u.done, u.buffer = true, nil
	u.cancel()
}

// Abort implements [storage.Upload]. It waits for the parts on their way, because S3 keeps one
// that arrives behind the abort.
func (u *upload) Abort() {
	u.over = true
	if u.done {
		return
	}
	u.release()
	u.sending.Wait()
	if u.id == "" {
		return
	}
	s := u.store
	ctx := context.WithoutCancel(u.ctx)
	err := s.do(ctx, call{op: opAbort, key: u.write.key}, func(ctx context.Context) error {
		ctx, cancel := s.once(ctx, 0)
		defer cancel()
		_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: s.bucket(), Key: s.object(u.write.key), UploadId: &u.id})
		if code, status := answer(err); code == codeNoUpload || status == 404 && !isNoBucket(err) {
			return nil
		}
		return err
	})
	if err != nil {
		s.cfg.Logger.Warn("s3: the parts of an upload stay in the bucket until its lifecycle rule removes them", "key", u.write.key, "error", err)
	}
}
