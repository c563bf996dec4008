package media

import (
	"math/bits"
	"time"
)

// Time is an instant on the media clock: nanoseconds since the Unix epoch. A source's
// wrapped clock becomes a Time once, in the gateway; nothing downstream sees another clock.
//
// Nanoseconds hold every tick of the rates in use: a conversion from ticks and back is
// exact for any rate up to 500 MHz.
type Time int64

// At returns the media time of a wall-clock instant.
func At(t time.Time) Time { return Time(t.UnixNano()) }

// Std returns the instant in UTC.
func (t Time) Std() time.Time { return time.Unix(0, int64(t)).UTC() }

// Add returns t + d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns t − u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Micros returns t in whole microseconds, rounded down: the unit of segment names.
func (t Time) Micros() int64 { return int64(t) / 1e3 }

// Ticks returns t in units of 1/rate s, rounded to the nearest.
func (t Time) Ticks(rate uint32) int64 { return ToTicks(time.Duration(t), rate) }

// TimeFromTicks is the inverse of [Time.Ticks].
func TimeFromTicks(n int64, rate uint32) Time { return Time(FromTicks(n, rate)) }

// ToTicks returns d in units of 1/rate s, rounded to the nearest.
func ToTicks(d time.Duration, rate uint32) int64 {
	return mulDivRound(int64(d), int64(rate), int64(time.Second))
}

// FromTicks returns n units of 1/rate s as a duration, rounded to the nearest
// nanosecond. rate must not be 0.
func FromTicks(n int64, rate uint32) time.Duration {
	return time.Duration(mulDivRound(n, int64(time.Second), int64(rate)))
}

// mulDivRound returns a·b/c rounded half away from zero, without overflow in between.
func mulDivRound(a, b, c int64) int64 {
	neg := a < 0
	if neg {
		a = -a
	}
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	lo, carry := bits.Add64(lo, uint64(c)/2, 0)
	q, _ := bits.Div64(hi+carry, lo, uint64(c))
	if neg {
		return -int64(q)
	}
	return int64(q)
}
