// Package transcode takes jobs of one segment each from the bus, lets one ffmpeg make all
// renditions of it, holds the result against the source's frames, and puts it back on the bus
// (design of the job: [live.Job]). A worker knows nothing of a stream: any of them takes any
// job, and may die with it at any moment, at the cost of one redelivery.
package transcode
