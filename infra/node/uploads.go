package node

import (
	"context"

	"klive/infra/kaltura/controlplane"
	"klive/storage"
)

// uploads keeps the files that clients of the embedded control plane upload in the store.
type uploads struct {
	store storage.Store
	to    storage.Uploader
}

// uploadFiles is nil when the store takes no streams.
func (n *Node) uploadFiles() controlplane.Files {
	to, ok := n.store.(storage.Uploader)
	if !ok {
		return nil
	}
	return uploads{n.store, to}
}

func (u uploads) Create(ctx context.Context, key string) (controlplane.FileWriter, error) {
	w, err := u.to.Upload(ctx, key, storage.PutOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return nil, err
	}
	return upload{w}, nil
}

func (u uploads) Delete(ctx context.Context, key string) error {
	return u.store.Delete(ctx, key)
}

// upload is a storage.Upload whose Commit says only whether it worked.
type upload struct{ storage.Upload }

func (u upload) Commit(ctx context.Context) error {
	_, err := u.Upload.Commit(ctx)
	return err
}
