package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"klive/infra/bus"
	"klive/infra/config"
	"klive/infra/telemetry"
	"klive/storage"
	"klive/storage/disk"
)

// checkTime bounds each of the checks.
const checkTime = 20 * time.Second

// CheckBus connects to bus.url and makes what klive makes there, with its replicas, under
// another name. It tells what it found, or what to do.
func CheckBus(ctx context.Context, c *config.Config) (found string, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	setup := busConfig(c)
	setup.Name = "doctor-" + newName()
	control, err := bus.Connect(ctx, setup)
	if err != nil {
		return "", err
	}
	defer control.Close()
	const probe = "doctor"
	b, err := control.Bucket(ctx, bus.BucketConfig{Name: probe, Memory: true, MaxBytes: 1 << 20})
	if err != nil {
		return "", err
	}
	key := rand.Text()
	began := time.Now()
	if _, err := b.PutTTL(ctx, key, []byte("klive was here"), 10*time.Second); err != nil {
		return "", err
	}
	took := time.Since(began)
	if err := b.Delete(ctx, key, 0); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s stores with %s, in %v", withoutPasswords(setup.URL), telemetry.Count(setup.Replicas, "replica", "replicas"), took.Round(100*time.Microsecond)), nil
}

// CheckFolder writes, reads and removes an object in a folder that holds a store.
func CheckFolder(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	store, err := disk.Open(disk.Config{Dir: dir})
	if err != nil {
		return err
	}
	defer store.Close()
	key := "doctor/" + rand.Text()
	if _, err := store.Put(ctx, key, [][]byte{[]byte("klive was here")}, storage.PutOptions{IfAbsent: true}); err != nil {
		return err
	}
	body, _, err := store.Get(ctx, key, nil)
	if err != nil {
		return err
	}
	if err := body.Close(); err != nil {
		return err
	}
	return store.Delete(ctx, key)
}

// CheckBucket writes, reads and removes an object in the bucket of storage.url.
func CheckBucket(ctx context.Context, c *config.Config) (found string, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime+c.Storage.Deadline)
	defer cancel()
	store, err := openS3(ctx, c, c.Storage.URL, nil, nil)
	if err != nil {
		return "", err
	}
	defer store.Close()
	if err := store.Check(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s can be written and read", store), nil
}
