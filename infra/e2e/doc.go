// Package e2e holds tests of the whole service: scenarios in virtual time, real encoders
// and a real browser against the built program, mutated sessions, and benchmarks.
//
// Tests run shortened. KLIVE_PROVE=1 in the environment gives them their full lengths.
package e2e
