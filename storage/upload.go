package storage

import (
	"context"
	"errors"
	"io"
)

// Uploader is a store that takes objects whose size is not known when they begin, such as
// recordings, in bounded memory (MaxUploadMemory each). The engines below this package are
// uploaders too and pass the suite's part for it.
type Uploader interface {
	// Upload begins an object. The context holds for all of it: when it ends, writing fails.
	Upload(ctx context.Context, key string, opt PutOptions) (Upload, error)
}

// Upload is one object on its way, used by one goroutine. Nothing is seen under its key before
// Commit. Either Commit or Abort must be called; Abort after Commit does nothing, so that it
// can be deferred.
type Upload interface {
	// Write takes the next bytes and does not keep p. It waits while the store is slower than
	// the writer. After an error, and after Commit and Abort, every Write fails.
	io.Writer
	// Commit makes what was written the object, if the condition of the options holds now;
	// ErrPrecondition if not. After an error nothing is left but what Abort removes. An upload
	// whose context has ended is not committed.
	Commit(ctx context.Context) (Info, error)
	// Abort removes what was written, also when the upload's context has ended.
	Abort()
}

// MaxUploadMemory is what an upload may hold in memory at most, in bytes.
const MaxUploadMemory = 32 << 20

// ErrUploadOver is returned by an upload that was committed or aborted.
var ErrUploadOver = errors.New("storage: the upload is over")
