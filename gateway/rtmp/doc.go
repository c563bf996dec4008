// Package rtmp takes RTMP and RTMPS publishers: the wire on one side, [gateway.Publication]
// on the other (Adobe RTMP 1.0, Enhanced RTMP v2).
//
// Every byte from the network passes a message layer of our own, which bounds chunk
// streams, message sizes, AMF depth, memory and time. Audio and video go from it to the FLV
// parser and on to the publication without a copy. Commands are checked, decided upon, put
// into plain words again and only then shown to go-rtmp, which keeps the state of the
// session and answers; its answers pass the same message layer on their way out. So the
// library never sees a byte that we did not write.
package rtmp
