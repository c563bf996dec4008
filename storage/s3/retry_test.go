package s3_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/storage"
	"klive/storage/s3"
)

// silent never answers.
func silent(_ string, _ int, r *http.Request) fate {
	<-r.Context().Done()
	return fate{before: context.Cause(r.Context())}
}

func busy(string, int, *http.Request) fate {
	return fate{answer: answer(503, "SlowDown", "Please reduce your request rate.")}
}

func patience(c *s3.Config) { c.Timeout, c.Deadline = 2*time.Second, 7*time.Second }

// Every call ends by its deadline, however the store fails, and tries until then.
func TestDeadline(t *testing.T) {
	calls := map[string]func(ctx context.Context, s *s3.Store) error{
		"put": func(ctx context.Context, s *s3.Store) error {
			_, err := s.Put(ctx, "a", text("x"), storage.PutOptions{IfAbsent: true})
			return err
		},
		"get":    func(ctx context.Context, s *s3.Store) error { _, _, err := s.Get(ctx, "a", nil); return err },
		"list":   func(ctx context.Context, s *s3.Store) error { _, err := s.List(ctx, "", "", 9); return err },
		"delete": func(ctx context.Context, s *s3.Store) error { return s.Delete(ctx, "a", "b") },
		"check":  func(ctx context.Context, s *s3.Store) error { return s.Check(ctx) },
	}
	faults := map[string]struct {
		on         func(string, int, *http.Request) fate
		says       string
		least, max int // attempts
	}{
		"silent":  {silent, "did not answer in time", 3, 4},
		"busy":    {busy, "SlowDown", 6, 12},
		"refused": {func(string, int, *http.Request) fate { return fate{before: errLost} }, "can't be reached", 6, 12},
	}
	for name, do := range calls {
		for how, fault := range faults {
			t.Run(name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, w := alone(t, fault.on, patience)
					begin := time.Now()
					err := do(t.Context(), s)
					took := time.Since(begin)
					n := w.counted("PUT") + w.counted("GET") + w.counted("GET list-type") + w.counted("POST delete") + w.counted("HEAD")
					if err == nil || !strings.Contains(err.Error(), fault.says) || !strings.Contains(err.Error(), "gave up") {
						t.Errorf("error %v, want one that says %q", err, fault.says)
					}
					if took > 7001*time.Millisecond || took < 4*time.Second || n < fault.least || n > fault.max {
						t.Errorf("%d attempts in %v", n, took)
					}
				})
			})
		}
	}
}

// A call that its caller gives up ends at once.
func TestCancel(t *testing.T) {
	for name, on := range map[string]func(string, int, *http.Request) fate{"silent": silent, "busy": busy} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := alone(t, on, nil)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(300*time.Millisecond, cancel)
				begin := time.Now()
				_, err := s.Put(ctx, "a", text("x"), storage.PutOptions{})
				if took := time.Since(begin); !errors.Is(err, context.Canceled) || took != 300*time.Millisecond {
					t.Errorf("%v after %v", err, took)
				}
				ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				begin = time.Now()
				_, err = s.Put(ctx, "a", text("x"), storage.PutOptions{})
				if took := time.Since(begin); err == nil || took > 300*time.Millisecond {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// What another attempt can't help is told at once.
func TestNotRepeated(t *testing.T) {
	for _, c := range []struct {
		status        int
		code, message string
	}{
		{400, "InvalidRequest", "no"}, {403, "AccessDenied", "Access Denied"}, {404, "NoSuchBucket", "gone"},
		{501, "NotImplemented", "no"}, {507, "InsufficientStorage", "full"}, {403, "QuotaExceeded", "full"},
	} {
		s, w := alone(t, func(string, int, *http.Request) fate { return fate{answer: answer(c.status, c.code, c.message)} }, nil)
		if _, err := s.Put(t.Context(), "a", text("x"), storage.PutOptions{}); err == nil || w.counted("PUT") != 1 {
			t.Errorf("%s: %d attempts, %v", c.code, w.counted("PUT"), err)
		}
	}
}

// Errors say what to do, and tell no secret.
func TestWords(t *testing.T) {
	redirect := func() *http.Response {
		a := answer(301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint.")
		a.Header.Set("X-Amz-Bucket-Region", "ap-south-1")
		return a
	}
	tests := map[string]struct {
		fate fate
		is   error
		says []string
	}{
		"no bucket":        {fate{answer: answer(404, "NoSuchBucket", "gone")}, nil, []string{"no bucket live", "make it", "storage.url"}},
		"forbidden":        {fate{answer: answer(403, "AccessDenied", "Access Denied")}, nil, []string{"s3:PutObject", "read-only"}},
		"wrong key":        {fate{answer: answer(403, "InvalidAccessKeyId", "no such key")}, nil, []string{"AWS_ACCESS_KEY_ID"}},
		"wrong secret":     {fate{answer: answer(403, "SignatureDoesNotMatch", "no")}, nil, []string{"AWS_SECRET_ACCESS_KEY"}},
		"region by header": {fate{answer: redirect()}, nil, []string{"in the region ap-south-1, not in eu-west-1", "region=ap-south-1"}},
		"region by text": {fate{answer: answer(400, "AuthorizationHeaderMalformed", "the region 'eu-west-1' is wrong; expecting 'us-west-2'")}, nil,
			[]string{"in the region us-west-2", "region=us-west-2"}},
		"region unknown": {fate{answer: answer(301, "", "")}, nil, []string{"not in the region eu-west-1", "region="}},
		"full":           {fate{answer: answer(507, "InsufficientStorage", "no space left")}, storage.ErrFull, []string{"make room"}},
		"quota":          {fate{answer: answer(403, "QuotaExceeded", "over")}, storage.ErrFull, []string{"make room", "quota"}},
		"kms":            {fate{answer: answer(400, "KMS.DisabledException", "key/1 is disabled")}, nil, []string{"storage.kmsKey", "key/1 is disabled"}},
		"kms forbidden": {fate{answer: answer(403, "AccessDenied", "not authorized to perform: kms:GenerateDataKey on key/1")}, nil,
			[]string{"storage.kmsKey", "kms:GenerateDataKey"}},
		"certificate": {fate{before: x509.UnknownAuthorityError{}}, nil, []string{"certificate is not trusted"}},
		"not S3":      {fate{answer: answer(405, "MethodNotAllowed", "no")}, nil, []string{"endpoint"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, _ := alone(t, func(string, int, *http.Request) fate { return tt.fate }, nil)
			_, err := s.Put(t.Context(), "a/b", text("x"), storage.PutOptions{})
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) {
				t.Fatalf("error %v, want %v", err, tt.is)
			}
			for _, word := range tt.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("%q tells the secret", err)
			}
		})
	}
}

// A body that stalls is taken up again after storage.timeout.
func TestBodyStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const content = "0123456789"
		s, w := alone(t, func(_ string, n int, r *http.Request) fate {
			a := &http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, ContentLength: 10, Header: http.Header{"Etag": {`"e"`}, "Content-Length": {"10"}}}
			a.Body = io.NopCloser(io.MultiReader(strings.NewReader(content[:4]), stalled{r.Context()}))
			if n > 1 {
				if r.Header.Get("Range") != "bytes=4-9" || r.Header.Get("If-Match") != `"e"` {
					t.Errorf("asked for %q of %q", r.Header.Get("Range"), r.Header.Get("If-Match"))
				}
				a.Header.Set("Content-Length", "6")
				a.Header.Set("Content-Range", "bytes 4-9/10")
				a.StatusCode, a.ContentLength, a.Body = 206, 6, io.NopCloser(strings.NewReader(content[4:]))
			}
			return fate{answer: a}
		}, patience)
		body, _, err := s.Get(t.Context(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		begin := time.Now()
		b, err := io.ReadAll(body)
		if took := time.Since(begin); string(b) != content || err != nil || took != 2*time.Second || w.counted("GET") != 2 {
			t.Errorf("%q, %v after %v and %d requests", b, err, took, w.counted("GET"))
		}
	})
}

type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, context.Cause(s.ctx)
}

func TestMetrics(t *testing.T) {
	metrics := prometheus.NewRegistry()
	s, _ := alone(t, func(kind string, n int, _ *http.Request) fate {
		if kind == "PUT" && n == 1 {
			return busy(kind, n, nil)
		}
		if kind == "GET" {
			return fate{answer: answer(404, "NoSuchKey", "gone")}
		}
		return fate{answer: &http.Response{StatusCode: 200, Header: http.Header{"Etag": {`"e"`}}, Body: http.NoBody}}
	}, func(c *s3.Config) { c.Registerer = metrics })
	if _, err := s.Put(t.Context(), "a", text("four"), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), "a", nil); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get = %v", err)
	}
	for _, want := range []struct {
		name   string
		labels map[string]string
		value  float64
	}{
		{"klive_s3_calls_total", map[string]string{"op": "put", "result": "ok"}, 1},
		{"klive_s3_calls_total", map[string]string{"op": "get", "result": "notfound"}, 1},
		{"klive_s3_repeats_total", map[string]string{"op": "put", "reason": "slowdown"}, 1},
		{"klive_s3_bytes_total", map[string]string{"direction": "in"}, 4},
	} {
		if got := counter(t, metrics, want.name, want.labels); got != want.value {
			t.Errorf("%s%v is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
}

// An answer without end is cut off.
func TestEndlessAnswer(t *testing.T) {
	s, _ := alone(t, func(string, int, *http.Request) fate {
		a := answer(200, "", "")
		a.ContentLength = -1
		a.Body = io.NopCloser(io.MultiReader(strings.NewReader("<ListBucketResult>"), endless{}))
		return fate{answer: a}
	}, func(c *s3.Config) { c.Deadline = time.Millisecond })
	if list, err := s.List(t.Context(), "", "", 10); err == nil {
		t.Errorf("List = %+v", list)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// An upload to a store that falls silent ends by the deadline of its parts, and so does Abort.
func TestUploadToSilentStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := alone(t, func(kind string, n int, r *http.Request) fate {
			if kind == "POST uploads" {
				a := answer(200, "", "")
				a.Body = io.NopCloser(strings.NewReader("<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"))
				return fate{answer: a}
			}
			return silent(kind, n, r)
		}, patience)
		u, err := s.Upload(t.Context(), "a", storage.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		piece := make([]byte, 4<<20)
		for i := 0; err == nil && i < 20; i++ {
			_, err = u.Write(piece)
		}
		// A part has two seconds more for its 8 MiB.
		if took := time.Since(begin); err == nil || !strings.Contains(err.Error(), "did not answer in time") || took > 9*time.Second {
			t.Errorf("Write = %v after %v", err, took)
		}
		if _, e := u.Commit(t.Context()); e == nil || e.Error() != err.Error() {
			t.Errorf("Commit = %v, want what Write said", e)
		}
		begin = time.Now()
		u.Abort()
		if took := time.Since(begin); took > 7001*time.Millisecond || w.counted("DELETE uploadId") < 3 {
			t.Errorf("Abort took %v with %d attempts", took, w.counted("DELETE uploadId"))
		}
	})
}
