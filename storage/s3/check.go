package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"klive/storage"
)

// ErrUnconditional is returned by [Store.Check] for a store in which two writers could both win.
// Waiting does not help.
var ErrUnconditional = errors.New("storage: s3: the store lacks conditional writes")

// probes is the folder of the objects that Check writes and removes.
const probes = "state/probe/"

// Check tells whether the bucket can carry klive: it exists, in the region that is configured,
// and lets an object be written on conditions, which it must honour, read, listed and deleted.
// Its error says what to do. It takes at most storage.deadline for each of its steps.
func (s *Store) Check(ctx context.Context) error {
	// A list comes first: its answer has words for a missing bucket, a wrong region and
	// credentials that are not accepted, which the answer to a HEAD has not.
	if _, err := s.page(ctx, probes, "", 1); err != nil {
		return err
	}
	key := probes + writeID()
	err := s.checkObject(ctx, key)
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Deadline)
	defer cancel()
	if e := s.Delete(clean, key); err == nil {
		err = e
	}
	return err
}

// checkObject goes through the life of an object.
func (s *Store) checkObject(ctx context.Context, key string) error {
	text := [][]byte{[]byte("klive was here at "), []byte(time.Now().UTC().Format(time.RFC3339))}
	opt := storage.PutOptions{ContentType: "text/plain", IfAbsent: true}
	info, err := s.Put(ctx, key, text, opt)
	if err != nil {
		return err
	}
	if _, err := s.Put(ctx, key, text, opt); !errors.Is(err, storage.ErrPrecondition) {
		return s.unconditional("If-None-Match", err)
	}
	other := storage.PutOptions{ContentType: "text/plain", IfMatch: `"00000000000000000000000000000000"`}
	if _, err := s.Put(ctx, key, text, other); !errors.Is(err, storage.ErrPrecondition) {
		return s.unconditional("If-Match", err)
	}
	body, got, err := s.Get(ctx, key, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, 1<<10))
	if err != nil {
		return err
	}
	if int64(len(b)) != info.Size || got.ETag != info.ETag {
		return fmt.Errorf("storage: s3: %s does not give back what was written to it a moment ago", s.at)
	}
	list, err := s.List(ctx, key, "", 1)
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("storage: s3: %s does not list what was written to it a moment ago", s.at)
	}
	return err
}

// unconditional is the error for a store that takes a write whose condition does not hold.
func (s *Store) unconditional(header string, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s does not honour %s, so two workers could overwrite each other; "+
		"use a store that has them, such as Amazon S3", ErrUnconditional, s.at, header)
}
