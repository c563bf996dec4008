// Package s3 keeps objects in a bucket that speaks S3, behind the same port and conformance suite as disk.
//
// It is not built yet; storage.url takes file:// addresses.
package s3
