// Package telemetry makes the logger and the metrics registry that every part of klive
// is given. Secrets never pass the logger, whatever it is handed.
package telemetry
