// Package images is the home of what runs klive outside a checkout: Dockerfiles, the
// compose file, the dashboard and the alert rules. Its tests build and check them.
package images
