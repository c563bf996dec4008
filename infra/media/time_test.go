package media

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Any tick count of any rate in use survives the way to nanoseconds and back, now and in
// a hundred years.
func TestTicksRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.SampledFrom([]uint32{1000, 90000, 8000, 11025, 22050, 44100, 48000, 96000}).Draw(t, "rate")
		century := int64(130*365*24*3600) * int64(rate)
		n := rapid.Int64Range(-century, century).Draw(t, "ticks")
		if got := TimeFromTicks(n, rate).Ticks(rate); got != n {
			t.Fatalf("%d ticks of 1/%d s came back as %d", n, rate, got)
		}
	})
}

func TestTicksRoundToNearest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.Int64Range(-4e18, 4e18).Draw(t, "ns")
		rate := rapid.Uint32Range(1, 1e6).Draw(t, "rate")
		exact := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(d), big.NewInt(int64(rate))), big.NewInt(1e9))
		diff := new(big.Rat).Sub(exact, new(big.Rat).SetInt64(ToTicks(time.Duration(d), rate)))
		if diff.Abs(diff).Cmp(big.NewRat(1, 2)) > 0 {
			t.Fatalf("ToTicks(%d, %d) is off by %v ticks", d, rate, diff)
		}
	})
}
