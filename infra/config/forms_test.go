package config

import "testing"

func TestRTMPForm(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "rtmp://live.example.com": true, "rtmp://live.example.com:1935/": true, "rtmps://live.example.com:443": true,
		"live.example.com:1935": false, "http://live.example.com": false, "rtmp://": false,
		"rtmp://live.example.com/kLive": false, "rtmp://user:pw@live.example.com": false, "rtmp://live.example.com?x=1": false,
	} {
		if err := checkForm("rtmp", text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}
