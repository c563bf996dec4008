package kaltura

import (
	"context"
	"net/url"
	"strconv"
)

// ReportStatus tells the API that this media server lives. Only the media server
// partner may (contract §3.14).
func (c *Client) ReportStatus(ctx context.Context) (*MediaServer, error) {
	form := url.Values{"hostname": {c.hostname}, "mediaServerStatus:objectType": {"KalturaMediaServerStatus"}}
	var m MediaServer
	err := c.call(ctx, invocation{service: "mediaServer", action: "reportStatus", form: form, repeatable: true}, &m)
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// ReportServerNode is [Client.ReportStatus] for servers since late 2015 (contract §3.14). A host
// name that they do not know they take in, disabled, until somebody enables it.
func (c *Client) ReportServerNode(ctx context.Context) (*ServerNode, error) {
	form := url.Values{
		"hostName": {c.hostname}, "serverNodeStatus": {strconv.Itoa(NodeActive)},
		"serverNode:objectType": {ServerNode{}.KalturaClass()}, "serverNode:hostName": {c.hostname}, "serverNode:name": {c.hostname},
	}
	var n ServerNode
	err := c.call(ctx, invocation{service: "serverNode", action: "reportStatus", form: form, repeatable: true}, &n)
	if err != nil {
		return nil, err
	}
	return &n, nil
}
