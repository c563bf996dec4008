package check

import (
	"testing"
	"time"

	"klive/infra/media"
	"klive/infra/publisher"
)

// TestOpening holds that an encoder may stop at any moment but those between a keyframe and its sound.
func TestOpening(t *testing.T) {
	clip, err := publisher.NewSynthetic(publisher.Synthetic{GOP: time.Second, BFrames: 2})
	if err != nil {
		t.Fatal(err)
	}
	cursor, err := clip.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	var withSound, without opening
	var picture, sound time.Duration
	mute := 0
	for range 1000 {
		u := cursor.Next()
		withSound.sent(u, true)
		without.sent(u, false)
		if u.Kind == media.Audio {
			sound = u.PTS
		} else if u.Key {
			picture = u.PTS
		}
		if want := sound < picture; withSound.mute != want && sound > 0 {
			t.Fatalf("sound up to %v, the keyframe at %v: mute is %t", sound, picture, withSound.mute)
		}
		if without.mute {
			t.Fatal("an encoder without sound waits for it")
		}
		if withSound.mute {
			mute++
		}
	}
	if mute == 0 {
		t.Error("the clip has no such moments")
	}
}
