package s3

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// SignedURL returns an address from which anybody can read the object for a while, at most
// seven days (Amazon's limit). Whether there is such an object is not looked at.
func (s *Store) SignedURL(ctx context.Context, key string, valid time.Duration) (string, error) {
	if err := checked(ctx, key); err != nil {
		return "", err
	}
	r, err := s3.NewPresignClient(s.client, s3.WithPresignExpires(valid)).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: s.bucket(), Key: s.object(key)})
	if err != nil {
		return "", fmt.Errorf("storage: s3: an address for %s: %w", key, err)
	}
	return r.URL, nil
}
