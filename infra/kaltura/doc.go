// Package kaltura speaks Kaltura's API: sessions (KS), the wire forms of its
// objects, the conversion profile document, and a client with the calls a live
// media server makes.
//
// The wire structs are shared with package controlplane, the API server for
// people who run klive without Kaltura. Both sides go through [Node], a value
// tree that is written as XML or JSON in the shapes of api_v3 and read
// leniently: a number may come as a string and the other way round.
package kaltura
