package spool_test

import (
	"context"
	"fmt"
	"testing"

	"klive/storage"
	"klive/storage/disk"
	"klive/storage/spool"
)

// BenchmarkPutMedia compares a healthy store on disk with and without a spool in front: a
// segment of 2.4 MB in 300 pieces.
func BenchmarkPutMedia(b *testing.B) {
	var data [][]byte
	for range 300 {
		data = append(data, make([]byte, 8<<10))
	}
	store, err := disk.Open(disk.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	s, err := spool.Open(spool.Config{Store: store, Dir: b.TempDir(), MaxBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	idle, err := spool.Open(spool.Config{Store: void{}, Dir: b.TempDir(), MaxBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(idle.Close)
	for _, bb := range []struct {
		name string
		put  func(key string) error
	}{
		{"disk", func(key string) error {
			_, err := store.Put(b.Context(), key, data, storage.PutOptions{})
			return err
		}},
		{"spool", func(key string) error {
			_, err := s.PutMedia(b.Context(), key, data, storage.PutOptions{}, nil)
			return err
		}},
		{"nothing", func(key string) error { // the spool's own cost
			_, err := idle.PutMedia(b.Context(), key, data, storage.PutOptions{}, nil)
			return err
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := bb.put(fmt.Sprintf("k/%d", i%16)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// void is a store that takes everything and keeps nothing.
type void struct{ storage.Store }

func (void) Put(context.Context, string, [][]byte, storage.PutOptions) (storage.Info, error) {
	return storage.Info{}, nil
}
