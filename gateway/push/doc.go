// Package push takes encoders over HTTP: MPEG-TS, fragmented MP4 and HLS push.
//
// It is not built yet; POST /ingest answers 404.
package push
