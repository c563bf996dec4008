package storagetest_test

import (
	"testing"

	"klive/storage"
	"klive/storage/storagetest"
)

func TestMemory(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Store { return storagetest.NewMemory() })
}

func TestMemoryUploads(t *testing.T) {
	storagetest.RunUploads(t, func(*testing.T) storagetest.UploadStore { return storagetest.NewMemory() })
}
