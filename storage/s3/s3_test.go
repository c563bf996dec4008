package s3_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/goleak"

	"klive/storage"
	"klive/storage/s3"
	"klive/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a store on a bucket of the gateway; change may alter its configuration.
func open(t *testing.T, g *storagetest.Gateway, bucket string, change func(*s3.Config)) *s3.Store {
	t.Helper()
	cfg := s3.Config{
		URL:         g.URL(bucket),
		Credentials: credentials.NewStaticCredentialsProvider(storagetest.GatewayKey, storagetest.GatewaySecret, ""),
		Logger:      slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := s3.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// opener gives each test of a suite a prefix of its own.
func opener(t *testing.T, g *storagetest.Gateway) func(t *testing.T) *s3.Store {
	var n atomic.Int64
	return func(t *testing.T) *s3.Store {
		return open(t, g, fmt.Sprintf("live/p%d", n.Add(1)), nil)
	}
}

func TestConformance(t *testing.T) {
	g := storagetest.StartGateway(t, "live", "whole")
	openNext := opener(t, g)
	storagetest.Run(t, func(t *testing.T) storage.Store { return openNext(t) })
	t.Run("without a prefix", func(t *testing.T) {
		s := open(t, g, "whole", nil)
		if _, err := s.Put(t.Context(), "a/b", [][]byte{[]byte("x")}, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if list, err := s.List(t.Context(), "", "", 10); err != nil || len(list) != 1 || list[0].Key != "a/b" {
			t.Errorf("List = %+v, %v", list, err)
		}
	})
}

func TestUploads(t *testing.T) {
	openNext := opener(t, storagetest.StartGateway(t, "live"))
	storagetest.RunUploads(t, func(t *testing.T) storagetest.UploadStore { return openNext(t) })
}
