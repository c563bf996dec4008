package kaltura

// UploadToken is KalturaUploadToken (contract §5.7): a file on its way to the API. Sizes
// are in bytes, times in seconds since the Unix epoch.
type UploadToken struct {
	ID               string `json:"id"`
	PartnerID        int    `json:"partnerId"`
	UserID           string `json:"userId,omitzero"`
	Status           int    `json:"status"`
	FileName         string `json:"fileName,omitzero"`
	FileSize         int64  `json:"fileSize,omitzero"`
	UploadedFileSize int64  `json:"uploadedFileSize,omitzero"`
	CreatedAt        int64  `json:"createdAt,omitzero"`
	UpdatedAt        int64  `json:"updatedAt,omitzero"`
	AutoFinalize     int    `json:"autoFinalize,omitzero"`
}

// KalturaClass implements Classed.
func (UploadToken) KalturaClass() string { return "KalturaUploadToken" }

// States of an upload token (KalturaUploadTokenStatus).
const (
	UploadPending = 0
	UploadPartial = 1
	UploadFull    = 2
)
