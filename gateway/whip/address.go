package whip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/pion/stun/v4"
)

// AddressSource says where a host's public addresses come from. At most one field is set.
type AddressSource struct {
	Addresses []netip.Addr
	STUN      string // a server, host:port
	URL       string // a service that answers with the address it is asked from, as text
	Cloud     string // "aws", "gcp" or "azure": the metadata service of the host's cloud
}

// metadata is where the clouds' metadata services are.
const metadata = "http://169.254.169.254"

// PublicAddresses finds a host's public addresses; none means its own.
func PublicAddresses(ctx context.Context, s AddressSource) ([]net.IP, error) {
	switch {
	case s.STUN != "":
		return one(askSTUN(ctx, s.STUN))
	case s.URL != "":
		return one(askURL(ctx, s.URL))
	case s.Cloud != "":
		return one(askCloud(ctx, metadata, s.Cloud))
	}
	var list []net.IP
	for _, a := range s.Addresses {
		list = append(list, a.AsSlice())
	}
	return list, nil
}

func one(ip net.IP, err error) ([]net.IP, error) {
	if err != nil {
		return nil, err
	}
	return []net.IP{ip}, nil
}

// askSTUN asks a STUN server what address this host has outside (RFC 8489). Requests get lost,
// so it asks again.
func askSTUN(ctx context.Context, server string) (net.IP, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp4", server)
	if err != nil {
		return nil, fmt.Errorf("STUN server %s: %w", server, err)
	}
	defer conn.Close()
	buf := make([]byte, 1500)
	for wait := 250 * time.Millisecond; ctx.Err() == nil; wait *= 2 {
		ask, err := stun.Build(stun.TransactionID, stun.BindingRequest)
		if err != nil {
			return nil, err
		}
		if _, err := conn.Write(ask.Raw); err != nil {
			return nil, fmt.Errorf("STUN server %s: %w", server, err)
		}
		until := time.Now().Add(wait)
		if d, ok := ctx.Deadline(); ok && d.Before(until) {
			until = d
		}
		_ = conn.SetReadDeadline(until)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				if !timeout(err) {
					return nil, fmt.Errorf("STUN server %s: %w", server, err)
				}
				break
			}
			m := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
			var a stun.XORMappedAddress
			if m.Decode() == nil && m.TransactionID == ask.TransactionID && a.GetFrom(m) == nil {
				return a.IP, nil
			}
		}
	}
	return nil, fmt.Errorf("STUN server %s does not answer", server)
}

// askURL asks a service for the address that it sees this host under.
func askURL(ctx context.Context, url string) (net.IP, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}, Timeout: 5 * time.Second}
	text, err := ask(ctx, client, http.MethodGet, url, "Accept", "text/plain")
	if err != nil {
		return nil, fmt.Errorf("the address at %s: %w", url, err)
	}
	ip := net.ParseIP(strings.TrimSpace(text))
	if ip == nil {
		return nil, fmt.Errorf("%s answers with something else than an address", url)
	}
	return ip, nil
}

// askCloud asks a metadata service; base is its address.
func askCloud(ctx context.Context, base, cloud string) (net.IP, error) {
	var text string
	var err error
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	switch cloud {
	case "aws": // IMDSv2: a token first
		var token string
		if token, err = ask(ctx, client, http.MethodPut, base+"/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60"); err == nil {
			text, err = ask(ctx, client, http.MethodGet, base+"/latest/meta-data/public-ipv4", "X-aws-ec2-metadata-token", token)
		}
	case "gcp":
		text, err = ask(ctx, client, http.MethodGet, base+"/computeMetadata/v1/instance/network-interfaces/0/access-configs/0/external-ip", "Metadata-Flavor", "Google")
	case "azure":
		text, err = ask(ctx, client, http.MethodGet, base+"/metadata/instance/network/interface/0/ipv4/ipAddress/0/publicIpAddress?api-version=2021-02-01&format=text", "Metadata", "true")
	default:
		err = errors.New("no such cloud is known")
	}
	if err != nil {
		return nil, fmt.Errorf("the metadata service of %s: %w", cloud, err)
	}
	ip := net.ParseIP(strings.TrimSpace(text))
	if ip == nil {
		return nil, fmt.Errorf("the metadata service of %s knows no public address of this host", cloud)
	}
	return ip, nil
}

// ask makes one request and returns its answer.
func ask(ctx context.Context, client *http.Client, method, url, header, value string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set(header, value)
	res, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s", url, res.Status)
	}
	return string(text), nil
}
