package s3

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"klive/storage"
)

// pageSize is the most that S3 lists at once.
const pageSize = 1000

// List implements [storage.Store]. Objects whose keys are none of ours are left out.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]storage.Info, error) {
	if err := checked(ctx); err != nil {
		return nil, err
	}
	if folder := prefix[:strings.LastIndexByte(prefix, '/')+1]; folder != "" && storage.CheckKey(strings.TrimSuffix(folder, "/")) != nil {
		return nil, fmt.Errorf("prefix %.64q: %w", prefix, storage.ErrKey)
	}
	out := make([]storage.Info, 0, max(0, min(limit, pageSize)))
	start := ""
	if after != "" {
		start = s.at.prefix + after
	}
	for more := limit > 0; more && len(out) < limit; {
		page, err := s.page(ctx, prefix, start, min(limit-len(out), pageSize))
		if err != nil {
			return nil, err
		}
		if out, start, err = s.add(out, page); err != nil {
			return nil, err
		}
		more = aws.ToBool(page.IsTruncated) && len(page.Contents) > 0
	}
	return out, nil
}

// page lists at most n objects whose keys in the bucket lie behind start. Keys come encoded,
// because a foreign one may hold bytes that XML can't.
func (s *Store) page(ctx context.Context, prefix, start string, n int) (*s3.ListObjectsV2Output, error) {
	var page *s3.ListObjectsV2Output
	err := s.do(ctx, call{op: opList, key: prefix}, func(ctx context.Context) error {
		ctx, cancel := s.once(ctx, 0)
		defer cancel()
		var err error
		page, err = s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
			Bucket: s.bucket(), Prefix: s.object(prefix), StartAfter: optional(start), MaxKeys: aws.Int32(int32(n)),
			EncodingType: types.EncodingTypeUrl,
		})
		return err
	})
	return page, err
}

// add appends a page's objects and returns the last key of it as it is in the bucket.
func (s *Store) add(out []storage.Info, page *s3.ListObjectsV2Output) (_ []storage.Info, last string, err error) {
	for _, o := range page.Contents {
		last = aws.ToString(o.Key)
		if page.EncodingType == types.EncodingTypeUrl {
			if last, err = url.QueryUnescape(last); err != nil {
				return nil, "", s.fail(call{op: opList}, err, "the store sent a key that can't be read")
			}
		}
		key, ours := strings.CutPrefix(last, s.at.prefix)
		if !ours || storage.CheckKey(key) != nil {
			s.foreign.Do(func() {
				s.cfg.Logger.Warn("s3: the bucket holds objects that are not klive's; they are left alone", "store", s.at.String(), "key", fmt.Sprintf("%.80q", last))
			})
			continue
		}
		out = append(out, storage.Info{Key: key, Size: aws.ToInt64(o.Size), ETag: aws.ToString(o.ETag), Modified: seconds(o.LastModified)})
	}
	return out, last, nil
}
