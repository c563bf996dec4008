package kaltura

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// UploadRequest is a file for the API.
type UploadRequest struct {
	// Name is the file's name, Size its length in bytes.
	Name string
	Size int64
	// File is read from where it stands, once, while it is sent. When it is an [io.Seeker] too,
	// a piece that nobody confirmed is read and sent again.
	File io.Reader
	// Piece is how much goes with one call, in bytes; default 64 MiB.
	Piece int64
}

const (
	uploadPiece = 64 << 20
	// uploadRate is the slowest that an upload may be, in bytes a second.
	uploadRate = 256 << 10
)

// Upload sends a file and returns its token, of status UploadFull (contract §3.13). A file of
// one piece goes with the token's making in one multirequest (§9.8), a longer one piece by piece.
// Nothing of the file is kept in memory. A file that could not be read, or was not as long as
// Size, is a plain error; others see call.
func (c *Client) Upload(ctx context.Context, partnerID int, r UploadRequest) (*UploadToken, error) {
	if r.Name == "" || r.File == nil || r.Size < 0 {
		return nil, errors.New("kaltura: an upload needs a name, a file and its size")
	}
	if r.Piece <= 0 {
		r.Piece = uploadPiece
	}
	if r.Size <= r.Piece {
		return c.uploadWhole(ctx, partnerID, r)
	}
	form := url.Values{}
	addUploadToken(form, "", r)
	var t UploadToken
	v := invocation{service: "uploadToken", action: "add", partner: partnerID, form: form, repeatable: true}
	if err := c.call(ctx, v, &t); err != nil {
		return nil, err
	}
	if t.ID == "" {
		return nil, noToken(v.name())
	}
	for at := int64(0); at < r.Size; at += r.Piece {
		if err := c.uploadPiece(ctx, partnerID, r, at, &t); err != nil {
			return nil, fmt.Errorf("upload %s from byte %d: %w", t.ID, at, err)
		}
	}
	return whole("uploadToken.upload", &t, r)
}

func (c *Client) uploadPiece(ctx context.Context, partnerID int, r UploadRequest, at int64, t *UploadToken) error {
	size := min(r.Piece, r.Size-at)
	last := at+size == r.Size
	form := url.Values{
		"uploadTokenId": {t.ID}, "resume": {flag(at > 0)}, "finalChunk": {flag(last)}, "resumeAt": {strconv.FormatInt(at, 10)},
	}
	v := invocation{service: "uploadToken", action: "upload", partner: partnerID, form: form, repeatable: true, upload: c.piece("fileData", r, size)}
	err := c.call(ctx, v, t)
	if failed := v.upload.failed(); failed != nil {
		return failed
	}
	if last && v.upload.attempts > 1 && IsCode(err, "UPLOAD_TOKEN_INVALID_STATUS_FOR_UPLOAD") {
		// An attempt before this one was taken, only its answer was lost.
		t.Status, t.UploadedFileSize = UploadFull, r.Size
		return nil
	}
	return err
}

// uploadWhole makes the token and sends the file in one request.
func (c *Client) uploadWhole(ctx context.Context, partnerID int, r UploadRequest) (*UploadToken, error) {
	form := url.Values{
		"1:service": {"uploadToken"}, "1:action": {"add"},
		"2:service": {"uploadToken"}, "2:action": {"upload"}, "2:uploadTokenId": {"{1:result:id}"},
	}
	addUploadToken(form, "1:", r)
	v := invocation{service: "multirequest", partner: partnerID, form: form, repeatable: true, upload: c.piece("2:fileData", r, r.Size)}
	var made, t UploadToken
	err := c.withSession(ctx, v, func(a answer) error { return v.readMulti(a, &made, &t) })
	if failed := v.upload.failed(); failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	return whole(v.name(), &t, r)
}

func (c *Client) piece(field string, r UploadRequest, size int64) *upload {
	u := &upload{field: field, name: r.Name, file: r.File, size: size, timeout: c.timeout + time.Duration(size/uploadRate)*time.Second}
	if seeker, ok := r.File.(io.Seeker); ok {
		if at, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			u.seeker, u.at = seeker, at
		}
	}
	return u
}

// whole checks that a token's file is all there.
func whole(call string, t *UploadToken, r UploadRequest) (*UploadToken, error) {
	switch {
	case t.ID == "":
		return nil, noToken(call)
	case t.Status != UploadFull:
		return nil, &AnswerError{Call: call, Status: http.StatusOK, ContentType: "application/json",
			Reason: fmt.Sprintf("the upload has status %d and %d bytes of %d", t.Status, t.UploadedFileSize, r.Size)}
	}
	return t, nil
}

func noToken(call string) error {
	return &AnswerError{Call: call, Status: http.StatusOK, ContentType: "application/json", Reason: "it is no upload token"}
}

func addUploadToken(form url.Values, prefix string, r UploadRequest) {
	form.Set(prefix+"uploadToken:objectType", "KalturaUploadToken")
	form.Set(prefix+"uploadToken:fileName", r.Name)
	form.Set(prefix+"uploadToken:fileSize", strconv.FormatInt(r.Size, 10))
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
