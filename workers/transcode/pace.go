package transcode

import (
	"time"

	"klive/infra/live"
)

// pace is how fast this worker's jobs were: the work of a second, which [workOf] measures.
type pace struct{ perSecond float64 }

// add counts a job.
func (p *pace) add(work float64, took time.Duration) {
	now := work / max(took.Seconds(), 0.01)
	if p.perSecond == 0 {
		p.perSecond = now
		return
	}
	p.perSecond += (now - p.perSecond) / 4
}

// workOf is what a job costs: pixels that are decoded and encoded, the former at a quarter.
func workOf(decoded int, video []live.VideoJob, frames int) float64 {
	work := float64(decoded) / 4
	for i := range video {
		work += float64(video[i].Width*video[i].Height) / float64(video[i].Skip+1)
	}
	return work * float64(frames)
}

// fits reports whether the rungs can be made in the time left, as far as that is known.
func (p *pace) fits(video []live.VideoJob, decoded, frames int, left time.Duration) bool {
	return p.perSecond == 0 || workOf(decoded, video, frames)/p.perSecond <= left.Seconds()
}

// shed returns the rungs that can be made in the time left, lowest bitrate last to go, and
// those that are given up, highest first; one always stays.
func (p *pace) shed(video []live.VideoJob, decoded, frames int, left time.Duration) (keep, gone []live.VideoJob) {
	keep = video
	for len(keep) > 1 && !p.fits(keep, decoded, frames, left) {
		most := 0
		for i := range keep {
			if keep[i].Bitrate > keep[most].Bitrate {
				most = i
			}
		}
		gone = append(gone, keep[most])
		keep = append(keep[:most:most], keep[most+1:]...)
	}
	return keep, gone
}
