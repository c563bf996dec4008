// Package storagetest is the conformance suite of [storage.Store]: every engine passes it.
// It also has an engine in memory that can be told to fail, for tests of what stands on a store.
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"

	"klive/storage"
)

// Run holds the store that open returns against the contract. Each call of open gives an
// empty store and cleans up through t.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	tests := []struct {
		name string
		run  func(t *testing.T, s storage.Store)
	}{
		{"PutGet", testPutGet},
		{"ContentType", testContentType},
		{"Replace", testReplace},
		{"Empty", testEmpty},
		{"Missing", testMissing},
		{"Range", testRange},
		{"IfAbsent", testIfAbsent},
		{"IfMatch", testIfMatch},
		{"RaceToCreate", testRaceToCreate},
		{"RaceToReplace", testRaceToReplace},
		{"WholeObjects", testWholeObjects},
		{"List", testList},
		{"ListPages", testListPages},
		{"ListModel", testListModel},
		{"Delete", testDelete},
		{"Keys", testKeys},
		{"Characters", testCharacters},
		{"Cancelled", testCancelled},
		{"ManyPieces", testManyPieces},
		{"PutWhileDelete", testPutWhileDelete},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

func pieces(s ...string) [][]byte {
	out := make([][]byte, len(s))
	for i := range s {
		out[i] = []byte(s[i])
	}
	return out
}

func mustPut(t *testing.T, s storage.Store, key, text string) storage.Info {
	t.Helper()
	info, err := s.Put(t.Context(), key, pieces(text), storage.PutOptions{})
	if err != nil {
		t.Fatalf("Put(%s): %v", key, err)
	}
	return info
}

func get(t *testing.T, s storage.Store, key string, r *storage.Range) (string, storage.Info) {
	t.Helper()
	body, info, err := s.Get(t.Context(), key, r)
	if err != nil {
		t.Fatalf("Get(%s): %v", key, err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("reading %s: %v", key, err)
	}
	return string(b), info
}

func testPutGet(t *testing.T, s storage.Store) {
	data := pieces("one ", "", "two ", "three")
	put, err := s.Put(t.Context(), "kLive/0_rkij47dr_32/b1/1-1.m4s", data, storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	data[0][0] = 'X' // the store must not have kept the pieces
	text, info := get(t, s, "kLive/0_rkij47dr_32/b1/1-1.m4s", nil)
	if text != "one two three" {
		t.Errorf("got %q", text)
	}
	if info.Key != "kLive/0_rkij47dr_32/b1/1-1.m4s" || info.Size != 13 || info.ETag == "" || info.Modified.IsZero() {
		t.Errorf("info %+v", info)
	}
	if put.ETag != info.ETag || put.Size != info.Size {
		t.Errorf("Put says %+v, Get says %+v", put, info)
	}
}

func testContentType(t *testing.T, s storage.Store) {
	for key, want := range map[string]string{
		"a/v.m3u8": "application/vnd.apple.mpegurl", "a/1-1.m4s": "video/mp4", "a/init-1.mp4": "video/mp4",
		"a/head.json": "application/json",
	} {
		if _, err := s.Put(t.Context(), key, pieces("x"), storage.PutOptions{ContentType: want}); err != nil {
			t.Fatal(err)
		}
		if _, info := get(t, s, key, nil); info.ContentType != want {
			t.Errorf("%s: content type %q, want %q", key, info.ContentType, want)
		}
	}
}

func testReplace(t *testing.T, s storage.Store) {
	a := mustPut(t, s, "a", "first")
	b := mustPut(t, s, "a", "again") // of the same length
	if a.ETag == b.ETag {
		t.Error("two writes have the same ETag")
	}
	if text, info := get(t, s, "a", nil); text != "again" || info.ETag != b.ETag {
		t.Errorf("got %q with ETag %s, want the second write's %s", text, info.ETag, b.ETag)
	}
}

func testEmpty(t *testing.T, s storage.Store) {
	if _, err := s.Put(t.Context(), "empty", nil, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if text, info := get(t, s, "empty", nil); text != "" || info.Size != 0 {
		t.Errorf("got %q, %+v", text, info)
	}
}

func testMissing(t *testing.T, s storage.Store) {
	mustPut(t, s, "a/b", "x")
	for _, key := range []string{"nothing", "a", "a/b/c", "a/c"} {
		if _, _, err := s.Get(t.Context(), key, nil); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Get(%s) = %v, want ErrNotFound", key, err)
		}
	}
}

func testRange(t *testing.T, s storage.Store) {
	mustPut(t, s, "a", "0123456789")
	tests := []struct {
		r    storage.Range
		want string
	}{
		{storage.Range{Offset: 0, Length: 2}, "01"},
		{storage.Range{Offset: 3, Length: 4}, "3456"},
		{storage.Range{Offset: 8, Length: 100}, "89"},
		{storage.Range{Offset: 4, Length: -1}, "456789"},
		{storage.Range{Offset: 9, Length: 1}, "9"},
		{storage.Range{Offset: 5, Length: 0}, ""},
		{storage.Range{Offset: 5, Length: math.MaxInt64}, "56789"},
	}
	for _, tt := range tests {
		text, info := get(t, s, "a", &tt.r)
		if text != tt.want || info.Size != 10 {
			t.Errorf("range %+v: %q of %d bytes, want %q of 10", tt.r, text, info.Size, tt.want)
		}
	}
	for _, r := range []storage.Range{{Offset: 10, Length: 1}, {Offset: 10, Length: -1}, {Offset: 10}, {Offset: -1, Length: 1}} {
		if _, _, err := s.Get(t.Context(), "a", &r); !errors.Is(err, storage.ErrRange) {
			t.Errorf("the range %+v: %v, want ErrRange", r, err)
		}
	}
}

func testIfAbsent(t *testing.T, s storage.Store) {
	opt := storage.PutOptions{IfAbsent: true}
	if _, err := s.Put(t.Context(), "a", pieces("first"), opt); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "a", pieces("second"), opt); !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("second Put = %v, want ErrPrecondition", err)
	}
	if text, _ := get(t, s, "a", nil); text != "first" {
		t.Errorf("the object is %q", text)
	}
}

func testIfMatch(t *testing.T, s storage.Store) {
	if _, err := s.Put(t.Context(), "a", pieces("x"), storage.PutOptions{IfMatch: `"nothing"`}); !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("IfMatch without an object = %v, want ErrPrecondition", err)
	}
	a := mustPut(t, s, "a", "one")
	b, err := s.Put(t.Context(), "a", pieces("two"), storage.PutOptions{IfMatch: a.ETag})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "a", pieces("bad"), storage.PutOptions{IfMatch: a.ETag}); !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("IfMatch with an old ETag = %v, want ErrPrecondition", err)
	}
	if text, info := get(t, s, "a", nil); text != "two" || info.ETag != b.ETag {
		t.Errorf("the object is %q, %+v", text, info)
	}
}

// testRaceToCreate lets many create one object: exactly one may win.
func testRaceToCreate(t *testing.T, s storage.Store) {
	for round := range 10 {
		wins := race(t, func(i int) error {
			_, err := s.Put(t.Context(), fmt.Sprintf("race/%d", round), pieces(fmt.Sprint(i)), storage.PutOptions{IfAbsent: true})
			return err
		})
		if wins != 1 {
			t.Fatalf("round %d: %d winners", round, wins)
		}
	}
}

// testRaceToReplace lets many replace the same version: exactly one may win. No two write the
// same, because the ETag of a bucket's object may be a hash of it.
func testRaceToReplace(t *testing.T, s storage.Store) {
	info := mustPut(t, s, "a", "begin")
	for round := range 10 {
		var mu sync.Mutex
		var won storage.Info
		wins := race(t, func(i int) error {
			n, err := s.Put(t.Context(), "a", pieces(fmt.Sprint(round, " by ", i)), storage.PutOptions{IfMatch: info.ETag})
			if err == nil {
				mu.Lock()
				won = n
				mu.Unlock()
			}
			return err
		})
		if wins != 1 {
			t.Fatalf("round %d: %d winners", round, wins)
		}
		info = won
	}
}

// race runs try in 16 goroutines and counts those without error; the others must fail by
// the precondition.
func race(t *testing.T, try func(i int) error) int {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() { errs[i] = try(i) })
	}
	wg.Wait()
	wins := 0
	for _, err := range errs {
		if err == nil {
			wins++
		} else if !errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("a loser got %v, want ErrPrecondition", err)
		}
	}
	return wins
}

// testWholeObjects reads while another writes: a reader sees one write's content, whole.
func testWholeObjects(t *testing.T, s storage.Store) {
	const size = 64 << 10
	content := func(i int) [][]byte {
		half := bytes.Repeat([]byte{byte('a' + i%26)}, size/2)
		return [][]byte{half, half}
	}
	if _, err := s.Put(t.Context(), "a", content(0), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		for i := range 50 {
			if _, err := s.Put(t.Context(), "a", content(i), storage.PutOptions{}); err != nil {
				t.Errorf("Put: %v", err)
				return
			}
		}
	})
	for ctx.Err() == nil {
		text, _ := get(t, s, "a", nil)
		if len(text) != size || strings.Trim(text, text[:1]) != "" {
			t.Errorf("a reader saw %d bytes of more than one write", len(text))
			break
		}
	}
	wg.Wait()
}

func testCancelled(t *testing.T, s storage.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, "a", pieces("x"), storage.PutOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v, want Canceled", err)
	}
	if _, _, err := s.Get(t.Context(), "a", nil); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get after a cancelled Put = %v, want ErrNotFound", err)
	}
}

// testManyPieces writes more pieces than one system call takes.
func testManyPieces(t *testing.T, s storage.Store) {
	var data [][]byte
	var want strings.Builder
	for i := range 3000 {
		p := strings.Repeat(string(rune('a'+i%26)), i%40)
		data = append(data, []byte(p))
		want.WriteString(p)
	}
	if _, err := s.Put(t.Context(), "many", data, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if text, info := get(t, s, "many", nil); text != want.String() || info.Size != int64(want.Len()) {
		t.Errorf("%d bytes came back, want %d", len(text), want.Len())
	}
}

// testPutWhileDelete empties a folder while others write into it.
func testPutWhileDelete(t *testing.T, s storage.Store) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			key := fmt.Sprintf("deep/er/%d/x", i%2)
			for range 50 {
				if _, err := s.Put(t.Context(), key, pieces("x"), storage.PutOptions{}); err != nil {
					t.Errorf("Put: %v", err)
				}
				if err := s.Delete(t.Context(), key); err != nil {
					t.Errorf("Delete: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if list, err := s.List(t.Context(), "", "", 10); err != nil || len(list) != 0 {
		t.Errorf("left over: %q, %v", keysOf(list), err)
	}
}
