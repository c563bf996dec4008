// Package fault breaks a running deployment on purpose: it starts real processes and kills,
// stops and restarts them, and stands as a relay before the object store or the bus that
// refuses, hangs, lies or delays. Network namespaces part one process from others. It is for
// tests only; whatever it starts ends with the test.
package fault
