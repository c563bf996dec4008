package storage

import (
	"context"
	"iter"
)

// pageSize is how many objects are listed at a time.
const pageSize = 1000

// All yields the objects under a prefix in key order, as they are listed page by page: objects that come and go meanwhile
// may be among them or not. It ends with the first error.
func All(ctx context.Context, s Store, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for after := ""; ; {
			list, err := s.List(ctx, prefix, after, pageSize)
			if err != nil {
				yield(Info{}, err)
				return
			}
			for i := range list {
				if !yield(list[i], nil) {
					return
				}
				after = list[i].Key
			}
			if len(list) < pageSize {
				return
			}
		}
	}
}
