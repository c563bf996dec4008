package storage_test

import (
	"errors"
	"strings"
	"testing"

	"klive/storage"
)

func TestCheckKey(t *testing.T) {
	good := []string{
		"a", "a/b.m4s", "kLive/smil:0_rkij47dr_all.smil/playlist.m3u8", "..a/b..", ".hidden", "a/...",
		strings.Repeat("x", storage.MaxKeySegment) + "/" + strings.Repeat("y", storage.MaxKeySegment),
	}
	for _, k := range good {
		if err := storage.CheckKey(k); err != nil {
			t.Errorf("CheckKey(%q) = %v", k, err)
		}
	}
	bad := []string{
		"", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a\\b", "a b", "a\x00b", "a\n", "ä", "a\x7f",
		strings.Repeat("x", storage.MaxKeySegment+1), strings.Repeat("x/", 256) + "x",
	}
	for _, k := range bad {
		if err := storage.CheckKey(k); !errors.Is(err, storage.ErrKey) {
			t.Errorf("CheckKey(%q) = %v, want ErrKey", k, err)
		}
	}
}
