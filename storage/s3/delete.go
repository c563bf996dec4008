package s3

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// batch is the most that S3 deletes at once.
const batch = 1000

// Delete implements [storage.Store]. When some objects of a batch can't be removed, the others
// are, and the error tells the first of them and how many there are.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if err := checked(ctx, keys...); err != nil {
		return err
	}
	var first error
	left := 0
	for chunk := range slices.Chunk(keys, batch) {
		n, err := s.deleteBatch(ctx, chunk)
		if left += n; err != nil && first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if first != nil && left > 1 {
		return fmt.Errorf("%w; %d of %d objects are left", first, left, len(keys))
	}
	return first
}

// deleteBatch removes the objects and returns how many may be left.
func (s *Store) deleteBatch(ctx context.Context, keys []string) (left int, err error) {
	todo := make([]types.ObjectIdentifier, len(keys))
	for i, key := range keys {
		todo[i].Key = s.object(key)
	}
	err = s.do(ctx, call{op: opDelete, key: keys[0]}, func(ctx context.Context) error {
		ctx, cancel := s.once(ctx, 0)
		defer cancel()
		out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: s.bucket(), Delete: &types.Delete{Objects: todo, Quiet: aws.Bool(true)},
		})
		if err != nil {
			return err
		}
		if again := failed(out.Errors); len(again) > 0 {
			todo = again
		}
		return worst(out.Errors)
	})
	if err == nil {
		return 0, nil
	}
	return len(todo), err
}

// failed returns the objects that are still there.
func failed(errs []types.Error) []types.ObjectIdentifier {
	var out []types.ObjectIdentifier
	for _, e := range errs {
		if aws.ToString(e.Code) != codeNoKey && e.Key != nil {
			out = append(out, types.ObjectIdentifier{Key: e.Key})
		}
	}
	return out
}

// worst returns an error for the objects of a batch that failed: one that another attempt can't
// help if there is any, so that a forbidden object does not wait for the deadline.
func worst(errs []types.Error) error {
	var out error
	for _, e := range errs {
		code := aws.ToString(e.Code)
		if code == codeNoKey {
			continue
		}
		err := &keyError{key: aws.ToString(e.Key), GenericAPIError: smithy.GenericAPIError{Code: code, Message: aws.ToString(e.Message)}}
		if repeatable(err) == "" {
			return err
		}
		out = err
	}
	return out
}

// keyError is what the store said of one object in a batch.
type keyError struct {
	smithy.GenericAPIError
	key string
}

func (e *keyError) ErrorMessage() string { return e.key + ": " + e.Message }
