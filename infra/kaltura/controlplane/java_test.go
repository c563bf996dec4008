package controlplane

import (
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"klive/infra/kaltura"
)

// javaClient speaks as the Java client of contract §1.8 does: POST to index.php, a form, XML
// answers, a checksum, a connection for each call.
type javaClient struct {
	t       *testing.T
	url, ks string
	partner string
}

// element is an XML element as that client reads it.
type element struct {
	name     string
	text     string
	children []*element
}

// call posts one call; fields are names and values in turn. It returns the result element.
func (c javaClient) call(service, action string, fields ...string) *element {
	c.t.Helper()
	target := c.url + "/api_v3/index.php?service=" + service
	if action != "" {
		target += "&action=" + action
	}
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, target, strings.NewReader(c.form(fields).Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Close = true
	for name, value := range map[string]string{
		"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", "Accept": "text/xml,application/xml,*/*",
		"Accept-Charset": "utf-8,ISO-8859-1;q=0.7,*;q=0.5", "Accept-Encoding": "gzip",
	} {
		r.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var body io.Reader = res.Body
	if strings.Contains(res.Header.Get("Content-Encoding"), "gzip") {
		if body, err = gzip.NewReader(res.Body); err != nil {
			c.t.Fatal(err)
		}
	}
	data, err := io.ReadAll(body)
	if err != nil || res.StatusCode != http.StatusOK {
		c.t.Fatalf("%s.%s: HTTP %d, %v", service, action, res.StatusCode, err)
	}
	root := readJava(c.t, data)
	if root.name != "xml" || len(root.children) != 2 || root.children[1].name != "executionTime" {
		c.t.Fatalf("%s.%s: %s", service, action, data)
	}
	return root.get("result")
}

// form adds what that client sends with each call, and the checksum over all of it.
func (c javaClient) form(fields []string) url.Values {
	v := url.Values{"apiVersion": {"3.2.0"}, "clientTag": {"MediaServer-ms1.example.com"}, "format": {"2"}, "ignoreNull": {"1"}, "partnerId": {c.partner}, "ks": {c.ks}}
	for i := 0; i+1 < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	v.Set("kalsig", kalsig(v))
	return v
}

// kalsig is the checksum of contract §1.8.
func kalsig(v url.Values) string {
	var names []string
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name + v.Get(name))
	}
	sum := md5.Sum([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

// readJava reads a document as that client must: every child of an element with elements is
// one, so text between them breaks it.
func readJava(t *testing.T, data []byte) *element {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(data)))
	root := &element{}
	stack := []*element{root}
	for {
		token, err := d.Token()
		if err == io.EOF {
			return root.children[0]
		}
		if err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		top := stack[len(stack)-1]
		switch v := token.(type) {
		case xml.StartElement:
			if top.text != "" {
				t.Fatalf("text %q before <%s> in %s", top.text, v.Name.Local, data)
			}
			e := &element{name: v.Name.Local}
			top.children = append(top.children, e)
			stack = append(stack, e)
		case xml.CharData:
			if len(top.children) > 0 {
				t.Fatalf("text %q after <%s> in %s", v, top.children[0].name, data)
			}
			top.text += string(v)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		}
	}
}

// get follows names and item numbers.
func (e *element) get(path ...string) *element {
	for _, name := range path {
		next := &element{}
		var at int
		if _, err := fmt.Sscanf(name, "item%d", &at); err == nil {
			if at < len(e.children) && e.children[at].name == "item" {
				next = e.children[at]
			}
		} else if i := slices.IndexFunc(e.children, func(c *element) bool { return c.name == name }); i >= 0 {
			next = e.children[i]
		}
		e = next
	}
	return e
}

// exception is the error that the client throws: an element error with code and message.
func (e *element) exception() (code string, args map[string]string) {
	failure := e.get("error")
	if failure.get("code").text == "" || failure.get("message").text == "" {
		return "", nil
	}
	args = map[string]string{}
	for _, a := range failure.get("args").children {
		args[a.get("name").text] = a.get("value").text
	}
	return failure.get("code").text, args
}

func TestJavaChecksum(t *testing.T) {
	v := url.Values{"apiVersion": {"3.2.0"}, "clientTag": {"MediaServer-ms1.example.com"}, "entryId": {"0_rkij47dr"}, "format": {"2"},
		"ignoreNull": {"1"}, "ks": {"KSVALUE"}, "partnerId": {"102"}, "token": {"dj94kfit"}}
	if got := kalsig(v); got != "f4cfb14da5b8f95bd0604d052d6f07d1" {
		t.Errorf("checksum %s", got)
	}
}

// TestJavaClient goes through what the Java media server calls, as it calls it, with the
// servers of both generations.
func TestJavaClient(t *testing.T) {
	for _, g := range []Generation{GenerationNow, Generation2015} {
		t.Run(string(g), func(t *testing.T) {
			f := start(t, func(c *Config) { c.Generation, c.Files = g, newFolder() })
			web := httptest.NewServer(f)
			defer web.Close()
			f.useProfile("Cloud transcode")
			javaBroadcast(t, javaClient{t, web.URL, ks(-5, kaltura.SessionAdmin), "102"})
		})
	}
}

func javaBroadcast(t *testing.T, c javaClient) {
	same := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %q, want %q", what, got, want)
		}
	}
	own := c
	own.partner = "-5"
	params := own.call("flavorparams", "list")
	same("class", params.children[0].text, "KalturaFlavorParamsListResponse")
	same("first params", params.get("objects", "item0", "systemName").text, "Source")
	status := own.call("mediaserver", "reportStatus", "hostname", "ms1.example.com", "mediaServerStatus:objectType", "KalturaMediaServerStatus")
	same("media server", status.get("hostname").text, "ms1.example.com")

	entry := c.call("livestream", "authenticate", "entryId", DemoEntry, "token", DemoToken)
	same("first child", entry.children[0].name+"="+entry.children[0].text, "objectType=KalturaLiveStreamEntry")
	same("dvrStatus", entry.get("dvrStatus").text, "1")
	for _, e := range entry.children {
		if e.text == "" && len(e.children) == 0 && e.name != "description" {
			t.Errorf("ignoreNull=1, yet <%s> is empty", e.name)
		}
	}
	code, args := c.call("livestream", "authenticate", "entryId", DemoEntry, "token", "wrong").exception()
	same("wrong token", code+args["ENTRY_ID"], "LIVE_STREAM_INVALID_TOKEN"+DemoEntry)
	code, args = c.call("livestream", "authenticate", "entryId", DemoEntry).exception()
	same("no token", code+args["PARAM_NAME"], "MISSING_MANDATORY_PARAMETERtoken")

	both := c.call("multirequest", "", "1:service", "conversionprofileassetparams", "1:action", "list", "1:partnerId", "102", "1:ks", c.ks,
		"1:filter:objectType", "KalturaConversionProfileAssetParamsFilter", "1:filter:conversionProfileIdEqual", entry.get("conversionProfileId").text,
		"2:service", "flavorasset", "2:action", "list", "2:partnerId", "102", "2:ks", c.ks, "2:filter:objectType", "KalturaLiveAssetFilter", "2:filter:entryIdEqual", DemoEntry)
	same("profile's assets", both.get("item0", "totalCount").text, "4")
	same("live assets", both.get("item1", "objects", "item0", "objectType").text, "KalturaLiveAsset")
	same("flavor params", c.call("flavorparams", "get", "id", "33").get("systemName").text, "Basic_Small_400")

	same("start", c.call("baseentry", "update", "entryId", DemoEntry, "baseEntry:objectType", "KalturaLiveStreamEntry", "baseEntry:currentBroadcastStartTime", "1.425000000123E9").
		get("currentBroadcastStartTime").text, "1425000000.123")
	where := []string{"entryId", DemoEntry, "hostname", "ms1.example.com", "mediaServerIndex", "0"}
	live := c.call("livestream", "registerMediaServer", append(where, "applicationName", "kLive")...)
	if live.get("recordedEntryId").text == "" || live.get("firstBroadcast").text == "" || live.get("lastBroadcast").text == "" {
		t.Errorf("registered entry %+v", live)
	}
	same("isLive", c.call("livestream", "isLive", "id", DemoEntry, "protocol", "hls").text, "1")
	gone := c.call("livestream", "unregisterMediaServer", where...)
	same("redirect", gone.get("redirectEntryId").text, live.get("recordedEntryId").text)
	same("start after", gone.get("currentBroadcastStartTime").text, "0")
	same("isLive after", c.call("livestream", "isLive", "id", DemoEntry, "protocol", "hls").text, "0")
	code, _ = c.call("nosuch", "list").exception()
	same("unknown service", code, "SERVICE_DOES_NOT_EXISTS")
}
