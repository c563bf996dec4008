package storagetest_test

import (
	"testing"

	"klive/storage"
	"klive/storage/storagetest"
)

func TestMemory(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Store { return storagetest.NewMemory() })
}
