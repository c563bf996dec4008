package controlplane

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// uploadTokenForm is what upload tokens look like; others never reach the state.
var uploadTokenForm = regexp.MustCompile(`^0_[0-9a-f]{32}$`)

const (
	// maxChunks is in how many pieces a file may come.
	maxChunks = 2000
	// maxFileName is in bytes.
	maxFileName = 255
)

type uploadAddParams struct {
	Token kaltura.UploadToken `api:"uploadToken,optional"`
}

// uploadTokenAdd begins an upload (contract §3.13).
func (s *Server) uploadTokenAdd(ctx context.Context, c *call, p uploadAddParams) (any, error) {
	now := c.now.Unix()
	if len(p.Token.FileName) > maxFileName {
		return nil, fail("PROPERTY_VALIDATION_MAX_LENGTH", "fileName must have at most 255 bytes", "PROP_NAME", "fileName")
	}
	if p.Token.FileSize < 0 {
		return nil, fail("PROPERTY_VALIDATION_MIN_VALUE", "fileSize must not be negative", "PROP_NAME", "fileSize", "PROP_MIN_VALUE", "0")
	}
	if p.Token.AutoFinalize == 1 && p.Token.FileSize == 0 {
		return nil, fail("UPLOAD_TOKEN_MISSING_FILE_SIZE", "autoFinalize needs fileSize")
	}
	doc := uploadDoc{Token: kaltura.UploadToken{
		ID: "0_" + randomHex(16), PartnerID: c.partner, UserID: c.ks.UserID, CreatedAt: now, UpdatedAt: now,
		FileName: p.Token.FileName, FileSize: p.Token.FileSize, AutoFinalize: p.Token.AutoFinalize,
	}}
	return doc.Token, create(ctx, s.state, uploadKey(doc.Token.ID), doc)
}

type uploadParams struct {
	TokenID  string    `api:"uploadTokenId"`
	File     *incoming `api:"fileData"`
	Resume   bool      `api:"resume,default=0"`
	Final    bool      `api:"finalChunk,default=1"`
	ResumeAt float64   `api:"resumeAt,default=-1"`
}

// uploadTokenUpload takes a file, or a piece of it (contract §3.13).
func (s *Server) uploadTokenUpload(ctx context.Context, c *call, p uploadParams) (any, error) {
	if _, err := s.uploadToken(ctx, c, p.TokenID); err != nil {
		return nil, err
	}
	if p.File.size == 0 || s.config.Files == nil {
		return nil, fail("UPLOAD_ERROR", "the file is empty, or this server keeps no files")
	}
	file, err := s.claim(ctx, p.File)
	if err != nil {
		return nil, err
	}
	var replaced []chunk
	doc, err := change(ctx, s.state, uploadKey(p.TokenID), func(doc *uploadDoc) error {
		if doc.Token.Status != kaltura.UploadPending && doc.Token.Status != kaltura.UploadPartial {
			return fail("UPLOAD_TOKEN_INVALID_STATUS_FOR_UPLOAD", "the file of this token was uploaded already")
		}
		before := doc.Chunks
		at := int64(0)
		if p.Resume {
			if doc.Token.Status == kaltura.UploadPending || p.ResumeAt > float64(doc.Token.UploadedFileSize) {
				return fail("UPLOAD_TOKEN_CANNOT_RESUME", "the token has no bytes before the place to resume at")
			}
			if at = int64(p.ResumeAt); p.ResumeAt < 0 {
				at = doc.Token.UploadedFileSize
			}
		}
		doc.Chunks = append(cut(before, at), chunk{file, p.File.size})
		if len(doc.Chunks) > maxChunks {
			return fail("MAX_ALLOWED_CHUNK_COUNT_EXCEEDED", "a file may come in at most 2000 pieces")
		}
		if at+p.File.size > s.config.Limits.File {
			return fail("UPLOAD_ERROR", "the file is larger than this server takes")
		}
		replaced = before[len(doc.Chunks)-1:]
		return advance(&doc.Token, at+p.File.size, p, c.now.Unix())
	})
	if errors.Is(err, bus.ErrNotFound) {
		return nil, noUpload()
	} else if err != nil {
		return nil, err
	}
	s.claimed(ctx, p.File)
	s.removeChunks(ctx, replaced)
	return doc.Token, nil
}

// cut keeps the first size bytes of what was uploaded.
func cut(chunks []chunk, size int64) []chunk {
	var out []chunk
	for _, c := range chunks {
		if size <= 0 {
			break
		}
		c.Size = min(c.Size, size)
		size -= c.Size
		out = append(out, c)
	}
	return out
}

// advance notes that a token has so many bytes now.
func advance(t *kaltura.UploadToken, uploaded int64, p uploadParams, now int64) error {
	final := p.Final
	if t.AutoFinalize == 1 {
		if uploaded > t.FileSize {
			return fail("UPLOAD_TOKEN_CANNOT_MATCH_EXPECTED_SIZE", "more bytes came than fileSize says")
		}
		final = uploaded == t.FileSize
	}
	t.UploadedFileSize, t.UpdatedAt, t.Status = uploaded, now, kaltura.UploadPartial
	if t.FileName == "" {
		t.FileName = p.File.name[:min(len(p.File.name), maxFileName)]
	}
	if final {
		t.Status, t.FileSize = kaltura.UploadFull, uploaded
	}
	return nil
}

type tokenIDParams struct {
	TokenID string `api:"uploadTokenId"`
}

// uploadTokenGet reads a token.
func (s *Server) uploadTokenGet(ctx context.Context, c *call, p tokenIDParams) (any, error) {
	doc, err := s.uploadToken(ctx, c, p.TokenID)
	return doc.Token, err
}

// uploadTokenDelete gives an upload up.
func (s *Server) uploadTokenDelete(ctx context.Context, c *call, p tokenIDParams) (any, error) {
	doc, err := s.uploadToken(ctx, c, p.TokenID)
	if err != nil {
		return nil, err
	}
	return nil, s.removeUpload(ctx, doc)
}

// uploadToken reads a token that the caller may use: those of other partners, and for
// users those of other users, are as good as none. Errors: UPLOAD_TOKEN_NOT_FOUND.
func (s *Server) uploadToken(ctx context.Context, c *call, id string) (uploadDoc, error) {
	if !uploadTokenForm.MatchString(id) {
		return uploadDoc{}, noUpload()
	}
	doc, err := load[uploadDoc](ctx, s.state, uploadKey(id))
	if errors.Is(err, bus.ErrNotFound) {
		return doc, noUpload()
	}
	if err == nil && (doc.Token.PartnerID != c.partner || !c.admin() && doc.Token.UserID != c.ks.UserID) {
		return uploadDoc{}, noUpload()
	}
	return doc, err
}

func noUpload() error { return fail(kaltura.CodeUploadTokenNotFound, "no such upload token") }

// removeUpload removes a token with its files.
func (s *Server) removeUpload(ctx context.Context, doc uploadDoc) error {
	for _, c := range doc.Chunks {
		if err := s.removeFile(ctx, c.File); err != nil {
			return err
		}
	}
	return s.state.Delete(ctx, uploadKey(doc.Token.ID), 0)
}

// removeChunks removes pieces whose place others have taken.
func (s *Server) removeChunks(ctx context.Context, chunks []chunk) {
	for _, c := range chunks {
		if err := s.removeFile(ctx, c.File); err != nil {
			s.log.Warn("a piece of a file whose place another has taken could not be removed", "file", fileKey(c.File), "err", err)
		}
	}
}

// sweepUploads removes uploads that nobody finished or used in time, and stored files that
// no upload names.
func (s *Server) sweepUploads(ctx context.Context, now int64) error {
	if s.config.Files == nil {
		return nil
	}
	old := now - int64(s.config.UploadKeep/time.Second)
	notes, err := s.state.List(ctx, everyUnclaimed)
	if err != nil {
		return err
	}
	// The tokens are read after the notes: a file whose note is gone by now has a token.
	all, err := loadAll[uploadDoc](ctx, s.state, everyUpload)
	if err != nil {
		return err
	}
	var failures []error
	named := map[string]bool{}
	for _, doc := range all {
		if doc.Token.UpdatedAt <= old && doc.Token.Status != uploadClosed { // a closed one's files are an entry's
			failures = append(failures, s.removeUpload(ctx, doc))
			continue
		}
		for _, c := range doc.Chunks {
			named[c.File] = true
		}
	}
	for _, kv := range notes {
		note, err := decodeDocument[unclaimed](kv.Key, kv.Value)
		id := strings.TrimPrefix(kv.Key, unclaimedPrefix)
		if err == nil && note.Since <= old && !named[id] {
			err = s.removeFile(ctx, id)
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}
