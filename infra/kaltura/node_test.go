package kaltura

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestNodeForms(t *testing.T) {
	asset := LiveAsset{ID: "0_a<&>\"'", EntryID: "0_e", Tags: "é\x01", FlavorParamsID: 32, FrameRate: 29.97, IsWeb: true}
	n := ToNode(List[LiveAsset]{ClassName: "KalturaFlavorAssetListResponse", Objects: []LiveAsset{asset}, TotalCount: 1})
	wantXML := `<objectType>KalturaFlavorAssetListResponse</objectType><objects><item><objectType>KalturaLiveAsset</objectType><id>0_a&lt;&amp;&gt;&quot;&apos;</id><entryId>0_e</entryId>` +
		`<partnerId>0</partnerId><version>0</version><size>0</size><tags>é` + "\uFFFD" + `</tags><flavorParamsId>32</flavorParamsId><width>0</width><height>0</height><bitrate>0</bitrate>` +
		`<frameRate>29.97</frameRate><isOriginal>0</isOriginal><isWeb>1</isWeb><status>0</status></item></objects><totalCount>1</totalCount>`
	if got := string(n.AppendXML(nil, true)); got != wantXML {
		t.Errorf("XML\ngot  %s\nwant %s", got, wantXML)
	}
	if got := string(n.AppendXML(nil, false)); !strings.Contains(got, "<fileExt></fileExt><createdAt></createdAt>") {
		t.Errorf("nulls must be empty elements: %s", got)
	}
	wantJSON := `{"objects":[{"id":"0_a<&>\"'","entryId":"0_e","partnerId":0,"version":0,"size":0,"tags":"é\u0001","flavorParamsId":32,"width":0,"height":0,"bitrate":0,` +
		`"frameRate":29.97,"isOriginal":false,"isWeb":true,"status":0,"objectType":"KalturaLiveAsset"}],"totalCount":1,"objectType":"KalturaFlavorAssetListResponse"}`
	if got := string(n.AppendJSON(nil)); got != wantJSON {
		t.Errorf("JSON\ngot  %s\nwant %s", got, wantJSON)
	}
	back, err := ParseJSON([]byte(wantJSON), Bounds{Depth: 8, Nodes: 100})
	if err != nil {
		t.Fatal(err)
	}
	var l List[LiveAsset]
	if err := back.Decode(&l); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]LiveAsset{asset}, l.Objects); diff != "" {
		t.Errorf("there and back (-want +got):\n%s", diff)
	}
	for path, want := range map[string]string{
		"objects:0:id": asset.ID, "objects:_all:flavorParamsId": "32", "objects:0:objectType": "KalturaLiveAsset", "totalCount": "1",
		"objects:1:id": "", "nothing": "", "totalCount:x": "",
	} {
		if got := n.Path(path); got.Text != want {
			t.Errorf("path %s: %q, want %q", path, got.Text, want)
		}
	}
}

func TestBaseClassComesFirst(t *testing.T) {
	n := ToNode(LiveStreamEntry{})
	var names []string
	for _, m := range n.Members {
		names = append(names, m.Name)
	}
	order := strings.Join(names, " ")
	at := -1
	for _, name := range []string{"id", "name", "conversionProfileId", "plays", "msDuration", "mediaType", "sourceType", "recordStatus", "dvrWindow", "currentBroadcastStartTime", "streamRemoteId", "streamName", "streamPassword"} {
		i := strings.Index(" "+order+" ", " "+name+" ")
		if i < at || i < 0 {
			t.Errorf("%s is missing or out of order in %s", name, order)
		}
		at = i
	}
	if n.Class != "KalturaLiveStreamEntry" {
		t.Errorf("class %q", n.Class)
	}
}

func TestDecodeIsLenient(t *testing.T) {
	type sub struct {
		Name string `json:"name"`
	}
	type all struct {
		I    int     `json:"i"`
		F    float64 `json:"f"`
		B    bool    `json:"b"`
		S    string  `json:"s"`
		P    *int    `json:"p"`
		L    []sub   `json:"l"`
		Sub  sub     `json:"sub"`
		Kept string  `json:"kept"`
	}
	seven := 7
	for doc, want := range map[string]all{
		`{"i":"12abc","f":"1.5x","b":"FALSE","s":12,"p":"7"}`:                       {I: 12, F: 1.5, S: "12", P: &seven, Kept: "k"},
		`{"i":1.9,"f":true,"b":1,"s":true,"l":{"1":{"name":"b"},"0":{"name":"a"}}}`: {I: 1, F: 1, B: true, S: "1", L: []sub{{"a"}, {"b"}}, Kept: "k"},
		`{"i":"true","b":"no","l":[],"sub":[],"kept":null}`:                         {I: 1, B: true, L: []sub{}},
		`{"i":"99999999999999999999","f":"-","b":"0","sub":{"name":"x","y":[]}}`:    {I: 9223372036854775807, Sub: sub{"x"}, Kept: "k"},
	} {
		n, err := ParseJSON([]byte(doc), Bounds{Depth: 8, Nodes: 100})
		if err != nil {
			t.Fatal(err)
		}
		got := all{Kept: "k"}
		if err := n.Decode(&got); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", doc, diff)
		}
	}
	for doc, format := range map[string]string{`{"i":[1]}`: "scalar", `{"l":3}`: "array", `{"sub":"x"}`: "object", `{"sub":[1]}`: "object", `7`: "object"} {
		n, err := ParseJSON([]byte(doc), Bounds{Depth: 8, Nodes: 100})
		if err != nil {
			t.Fatal(err)
		}
		var f *FormatError
		if err := n.Decode(new(all)); !errors.As(err, &f) || f.Format != format {
			t.Errorf("%s: %v, want format %s", doc, err, format)
		}
	}
}

func TestParseJSONBounds(t *testing.T) {
	b := Bounds{Depth: 3, Nodes: 5}
	for doc, complex := range map[string]bool{`[[[1]]]`: false, `[[[[1]]]]`: true, `[1,2,3,4]`: false, `[1,2,3,4,5]`: true} {
		if _, err := ParseJSON([]byte(doc), b); errors.Is(err, ErrTooComplex) != complex {
			t.Errorf("%s: %v", doc, err)
		}
	}
	for _, doc := range []string{"", "{", `{"a"}`, "[1", "1 2", "nul"} {
		if _, err := ParseJSON([]byte(doc), b); err == nil || errors.Is(err, ErrTooComplex) {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func TestJSONRoundTrip(t *testing.T) {
	var node func(depth int) *rapid.Generator[Node]
	node = func(depth int) *rapid.Generator[Node] {
		return rapid.Custom(func(t *rapid.T) Node {
			kind := rapid.IntRange(0, 5).Draw(t, "kind")
			if depth == 0 {
				kind %= 4
			}
			switch Kind(kind) {
			case KindBool:
				return ToNode(rapid.Bool().Draw(t, "bool"))
			case KindNumber:
				return ToNode(rapid.Int().Draw(t, "int"))
			case KindArray:
				return Node{Kind: KindArray, Items: rapid.SliceOfN(node(depth-1), 1, 3).Draw(t, "items")}
			case KindObject:
				n := Node{Kind: KindObject, Class: rapid.StringMatching(`[A-Z][a-z]{0,5}`).Draw(t, "class")}
				for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,5}`), 1, 3, rapid.ID[string]).Draw(t, "names") {
					n.Members = append(n.Members, Member{name, node(depth-1).Filter(func(n Node) bool { return n.Kind != KindNull }).Draw(t, "value")})
				}
				return n
			}
			return TextNode(rapid.String().Draw(t, "text"))
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		n := node(3).Draw(t, "node")
		got, err := ParseJSON(n.AppendJSON(nil), Bounds{Depth: 10, Nodes: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(n, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,"x",null,true],"objectType":"K"}`, `[{"code":"X","message":"y"}]`, `"djJ8"`, "[[[[", `{"objects":{"1":{},"0":{}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ParseJSON(data, Bounds{Depth: 16, Nodes: 1000})
		if err != nil {
			return
		}
		if _, err := ParseJSON(n.AppendJSON(nil), Bounds{Depth: 17, Nodes: 2000}); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		n.AppendXML(nil, false)
		var e LiveStreamEntry
		var l List[LiveAsset]
		_, _ = n.Decode(&e), n.Decode(&l)
		if e := apiErrorOf(n); e != nil && e.Code == "" {
			t.Fatal("an error without code")
		}
	})
}
