package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"klive/storage"
)

func keysOf(list []storage.Info) []string {
	out := []string{}
	for _, i := range list {
		out = append(out, i.Key)
	}
	return out
}

// listKeys are in key order; "." sorts before "/", which trips engines that walk folders.
var listKeys = []string{"a-b", "a.b/x", "a/b/c", "a/b/d", "a/b1", "a/c/e", "a0", "b/z", "state/x/head.json"}

func testList(t *testing.T, s storage.Store) {
	for i, k := range slices.Backward(listKeys) {
		mustPut(t, s, k, strings.Repeat("x", i+1))
	}
	tests := []struct {
		prefix, after string
		limit         int
		want          []string
	}{
		{"", "", 100, listKeys},
		{"a/", "", 100, listKeys[2:6]},
		{"a/b", "", 100, listKeys[2:5]},
		{"a", "", 100, listKeys[:7]},
		{"a/b/", "a/b/c", 100, listKeys[3:4]},
		{"", "a/b1", 2, listKeys[5:7]},
		{"", "zzz", 2, []string{}},
		{"nothing/", "", 2, []string{}},
		{"a", "a/b/cc", 100, listKeys[3:7]},
		{"", "", 0, []string{}},
	}
	for _, tt := range tests {
		list, err := s.List(t.Context(), tt.prefix, tt.after, tt.limit)
		if err != nil {
			t.Fatalf("List(%q, %q): %v", tt.prefix, tt.after, err)
		}
		if got := keysOf(list); !slices.Equal(got, tt.want) {
			t.Errorf("List(%q, %q, %d) = %q, want %q", tt.prefix, tt.after, tt.limit, got, tt.want)
		}
	}
	list, _ := s.List(t.Context(), "a/b1", "", 1)
	_, info := get(t, s, "a/b1", nil)
	if len(list) != 1 || list[0].Size != info.Size || list[0].ETag != info.ETag || !list[0].Modified.Equal(info.Modified) {
		t.Errorf("List says %+v, Get says %+v", list, info)
	}
}

func testListPages(t *testing.T, s storage.Store) {
	var want []string
	for i := range 57 {
		key := fmt.Sprintf("p/%d/%d", i%7, i)
		want = append(want, key)
		mustPut(t, s, key, "x")
	}
	slices.Sort(want)
	var got []string
	for after := ""; ; {
		list, err := s.List(t.Context(), "p/", after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 10 {
			t.Fatalf("a page of %d", len(list))
		}
		got = append(got, keysOf(list)...)
		if len(list) < 10 {
			break
		}
		after = list[len(list)-1].Key
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages give %q, want %q", got, want)
	}
}

// testListModel lists by any prefix, start and limit, and holds that against a sorted slice.
// The names hold the characters that sort around the slash.
func testListModel(t *testing.T, s storage.Store) {
	var keys []string
	names := []string{"a", "a-", "a.b", "a0", "b"}
	for _, x := range names {
		for _, y := range names {
			keys = append(keys, x+"+/"+y, x+"/"+y+"/z", x+"/"+y+".z")
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		mustPut(t, s, k, "x")
	}
	rapid.Check(t, func(t *rapid.T) {
		somewhere := func(name string) string {
			k := rapid.SampledFrom(keys).Draw(t, name)
			return k[:rapid.IntRange(0, len(k)).Draw(t, name+" length")]
		}
		prefix, after, limit := somewhere("prefix"), somewhere("after"), rapid.IntRange(0, 100).Draw(t, "limit")
		want := []string{}
		for _, k := range keys {
			if strings.HasPrefix(k, prefix) && k > after && len(want) < limit {
				want = append(want, k)
			}
		}
		list, err := s.List(context.Background(), prefix, after, limit)
		if got := keysOf(list); err != nil || !slices.Equal(got, want) {
			t.Fatalf("List(%q, %q, %d) = %q, %v, want %q", prefix, after, limit, got, err, want)
		}
	})
}

func testDelete(t *testing.T, s storage.Store) {
	for _, k := range []string{"a/b/c", "a/b/d", "a/e"} {
		mustPut(t, s, k, "x")
	}
	if err := s.Delete(t.Context()); err != nil {
		t.Errorf("deleting nothing: %v", err)
	}
	if err := s.Delete(t.Context(), "a/b/c", "nothing", "no/thing", "a/b/d", "a/b/c"); err != nil {
		t.Fatal(err)
	}
	list, err := s.List(t.Context(), "", "", 10)
	if got := keysOf(list); err != nil || !slices.Equal(got, []string{"a/e"}) {
		t.Errorf("left over: %q, %v", got, err)
	}
	mustPut(t, s, "a/b", "now an object where a folder was")
}

func testKeys(t *testing.T, s storage.Store) {
	for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/../../b", "a/./b", "a\\b", "a\x00", strings.Repeat("k", 600)} {
		if _, err := s.Put(t.Context(), key, pieces("x"), storage.PutOptions{}); !errors.Is(err, storage.ErrKey) {
			t.Errorf("Put(%.20q) = %v, want ErrKey", key, err)
		}
		if _, _, err := s.Get(t.Context(), key, nil); !errors.Is(err, storage.ErrKey) {
			t.Errorf("Get(%.20q) = %v, want ErrKey", key, err)
		}
		if err := s.Delete(t.Context(), key); !errors.Is(err, storage.ErrKey) {
			t.Errorf("Delete(%.20q) = %v, want ErrKey", key, err)
		}
	}
}

// testCharacters uses each character that a key may have.
func testCharacters(t *testing.T, s storage.Store) {
	var want []string
	for c := byte('!'); c <= '~'; c++ {
		if c == '\\' || c == '/' {
			continue
		}
		key := "k/x" + string(c) + "x"
		want = append(want, key)
		mustPut(t, s, key, key)
	}
	list, err := s.List(t.Context(), "k/", "", 1000)
	if got := keysOf(list); err != nil || !slices.Equal(got, want) {
		t.Fatalf("List = %q, %v, want %q", got, err, want)
	}
	for i, key := range want {
		if text, _ := get(t, s, key, nil); text != key {
			t.Errorf("%s holds %q", key, text)
		}
		if list, err := s.List(t.Context(), key, "", 1); err != nil || len(list) != 1 || list[0].Key != key {
			t.Errorf("List(%q) = %+v, %v", key, list, err)
		}
		if list, err := s.List(t.Context(), "k/", key, 1); err != nil || i+1 < len(want) && (len(list) != 1 || list[0].Key != want[i+1]) {
			t.Errorf("List after %q = %+v, %v", key, list, err)
		}
	}
	if err := s.Delete(t.Context(), want...); err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(t.Context(), "", "", 10); err != nil || len(list) != 0 {
		t.Errorf("left over: %q, %v", keysOf(list), err)
	}
}
