package kaltura

import (
	"context"
	"errors"
	"net/url"
	"strconv"
)

// Codes with which appendRecording refuses (contract §3.6).
const (
	CodeAssetNotFound      = "ASSET_ID_NOT_FOUND"
	CodeRecordingFull      = "LIVE_STREAM_EXCEEDED_MAX_RECORDED_DURATION"
	CodeRecordingElsewhere = "KALTURA_RECORDING_ENABLED"
	CodeUploadTokenNotFull = "UPLOAD_TOKEN_INVALID_STATUS_FOR_ADD_ENTRY"
)

// Resource is how the API gets at a recorded file: exactly one field is set (contract §5.7).
type Resource struct {
	// LocalFilePath is a path on storage that the API server shares, or what its s3:// stands for.
	LocalFilePath string
	// Token is that of a whole upload.
	Token string
	// URL is fetched by the server; Kaltura's own appendRecording does not take it.
	URL string
}

// AppendRequest is one recorded file of one live asset.
type AppendRequest struct {
	EntryID, AssetID string
	Index            int
	Resource         Resource
	// Duration is in seconds of media time.
	Duration float64
	// Last says that the asset's session ends with the file.
	Last bool
}

// AppendRecording appends a file to the entry's recording (contract §3.6) and returns the live
// entry. It is not idempotent and is sent once: after an error that [NotSent] does not hold for,
// and that is no answer of the API, the file may or may not have been appended.
func (c *Client) AppendRecording(ctx context.Context, partnerID int, r AppendRequest) (*LiveStreamEntry, error) {
	form := url.Values{"entryId": {r.EntryID}, "assetId": {r.AssetID}, "mediaServerIndex": {strconv.Itoa(r.Index)},
		"duration": {strconv.FormatFloat(r.Duration, 'f', -1, 64)}, "isLastChunk": {flag(r.Last)}}
	v := invocation{service: "liveStream", action: "appendRecording", partner: partnerID, form: form}
	switch {
	case r.Resource.Token != "":
		form.Set("resource:objectType", "KalturaUploadedFileTokenResource")
		form.Set("resource:token", r.Resource.Token)
	case r.Resource.LocalFilePath != "":
		form.Set("resource:objectType", "KalturaServerFileResource")
		form.Set("resource:localFilePath", r.Resource.LocalFilePath)
	case r.Resource.URL != "":
		form.Set("resource:objectType", "KalturaUrlResource")
		form.Set("resource:url", r.Resource.URL)
		v.hidden = []string{r.Resource.URL} // it may be signed
	default:
		return nil, errors.New("kaltura: appendRecording needs a resource")
	}
	return c.entry(ctx, v)
}

// CancelReplace takes back a replacement of a recorded entry's content that has not become
// ready, so that the next one is built from all files (contract §3.12).
func (c *Client) CancelReplace(ctx context.Context, partnerID int, recordedEntryID string) error {
	v := invocation{service: "media", action: "cancelReplace", partner: partnerID, form: url.Values{"entryId": {recordedEntryID}}, repeatable: true}
	return c.call(ctx, v, nil)
}

// NotSent says that a failed call certainly never reached the API.
func NotSent(err error) bool { return errors.Is(err, ErrRefused) || unsent(err) }
