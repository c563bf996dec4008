package bus_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check/fault"
)

func startServer(t testing.TB, c bus.ServerConfig) *bus.Server {
	t.Helper()
	if c.Name == "" {
		c.Name = "node"
	}
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	s, err := bus.StartServer(t.Context(), c)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

// certificate makes an authority and a certificate for 127.0.0.1 that it signs.
func certificate(t *testing.T) bus.TLSFiles {
	t.Helper()
	dir := t.TempDir()
	files := bus.TLSFiles{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	for path, block := range map[string]*pem.Block{
		files.CA:   {Type: "CERTIFICATE", Bytes: caDER},
		files.Cert: {Type: "CERTIFICATE", Bytes: der},
		files.Key:  {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		must(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	}
	return files
}

// wantWords checks that an error is of a kind and tells the operator what he needs.
func wantWords(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if kind != nil {
		wantErr(t, err, kind)
	}
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v: it does not say %q", err, w)
		}
	}
}

func TestServerSettings(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = taken.Close() }()
	in := func(c bus.ServerConfig) error {
		if c.Dir == "" {
			c.Dir = t.TempDir()
		}
		c.Name = "node"
		s, err := bus.StartServer(t.Context(), c)
		if err == nil {
			s.Close()
		}
		return err
	}
	const free = "127.0.0.1:0"
	wantWords(t, in(bus.ServerConfig{Listen: taken.Addr().String()}), nil, "bus.listen", "in use")
	wantWords(t, in(bus.ServerConfig{Listen: free, ClusterName: "c", ClusterListen: taken.Addr().String()}), nil, "bus.cluster.listen", "in use")
	wantWords(t, in(bus.ServerConfig{Listen: free, ClusterListen: free}), bus.ErrInvalid, "bus.cluster.name")
	wantWords(t, in(bus.ServerConfig{Listen: free, ClusterName: "c", ClusterListen: free, Routes: "here"}), bus.ErrInvalid, "bus.cluster.routes")
	wantWords(t, in(bus.ServerConfig{Listen: free, User: "me"}), bus.ErrInvalid, "bus.password")
	wantWords(t, in(bus.ServerConfig{Listen: free, TLS: bus.TLSFiles{CA: "x"}}), bus.ErrInvalid, "bus.tls.cert")
	wantWords(t, in(bus.ServerConfig{Listen: free, TLS: bus.TLSFiles{Cert: "none", Key: "none"}}), bus.ErrInvalid, "bus.tls.cert")
	dir := t.TempDir()
	s := startServer(t, bus.ServerConfig{Dir: dir})
	must(t, s.Healthy())
	wantErr(t, in(bus.ServerConfig{Listen: free, Dir: dir}), bus.ErrInUse)
}

// A node behind a password and a certificate: who may come in does, who may not
// reads why.
func TestServerGuarded(t *testing.T) {
	files, foreign := certificate(t), certificate(t)
	s := startServer(t, bus.ServerConfig{User: "klive", Password: "secret", TLS: files})
	url := "tls://" + s.Addr().String()
	try := func(c bus.ConnectConfig) error {
		if c.URL == "" {
			c.URL = url
		}
		control, err := bus.Connect(t.Context(), c)
		if err == nil {
			err = control.Healthy()
			control.Close()
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("an error shows a password: %v", err)
		}
		return err
	}
	ca := bus.TLSFiles{CA: files.CA}
	must(t, try(bus.ConnectConfig{User: "klive", Password: "secret", TLS: ca}))
	must(t, try(bus.ConnectConfig{URL: "tls://klive:secret@" + s.Addr().String(), TLS: files}))
	wantWords(t, try(bus.ConnectConfig{User: "klive", Password: "secret2", TLS: ca}), bus.ErrDenied, "bus.user", "bus.password", "bus.credentials")
	wantWords(t, try(bus.ConnectConfig{TLS: ca}), bus.ErrDenied, "bus.user")
	wantWords(t, try(bus.ConnectConfig{User: "klive", Password: "secret"}), bus.ErrDenied, "bus.tls.ca")
	wantWords(t, try(bus.ConnectConfig{User: "klive", Password: "secret", TLS: bus.TLSFiles{CA: foreign.CA}}), bus.ErrDenied, "bus.tls.ca")
	wantWords(t, try(bus.ConnectConfig{User: "klive"}), bus.ErrInvalid, "bus.password")
	wantWords(t, try(bus.ConnectConfig{User: "klive", Password: "secret", Credentials: files.Key}), bus.ErrInvalid, "bus.credentials")
	wantWords(t, try(bus.ConnectConfig{Credentials: "none"}), bus.ErrInvalid, "bus.credentials")
	wantWords(t, try(bus.ConnectConfig{TLS: bus.TLSFiles{CA: files.Key}}), bus.ErrInvalid, "bus.tls.ca")
	wantWords(t, try(bus.ConnectConfig{TLS: bus.TLSFiles{Cert: files.Cert}}), bus.ErrInvalid, "bus.tls.key")
	wantErr(t, try(bus.ConnectConfig{Credentials: files.Key, TLS: ca}), bus.ErrUnavailable)
}

// foreignServer is a NATS server that klive did not set up.
func foreignServer(t *testing.T, change func(*natsserver.Options)) string {
	t.Helper()
	o := &natsserver.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, StoreDir: t.TempDir()}
	change(o)
	s, err := natsserver.NewServer(o)
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s.ClientURL()
}

func TestConnectToOthersServers(t *testing.T) {
	plain := foreignServer(t, func(*natsserver.Options) {})
	_, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: plain})
	wantWords(t, err, bus.ErrUnavailable, "enable JetStream")
	_, err = bus.Connect(t.Context(), bus.ConnectConfig{URL: strings.Replace(plain, "nats://", "tls://", 1)})
	wantWords(t, err, bus.ErrDenied, "nats://")

	var log bytes.Buffer
	small := foreignServer(t, func(o *natsserver.Options) { o.JetStream = true })
	c, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: small, Replicas: 3})
	must(t, err)
	defer c.Close()
	_, err = c.Bucket(t.Context(), bus.BucketConfig{Name: "feeds"})
	wantWords(t, err, bus.ErrInvalid, "bus.replicas")
	_, err = c.Log(t.Context(), bus.LogConfig{Name: "timeline"})
	wantWords(t, err, bus.ErrInvalid, "bus.replicas")
	s := openStreams(t, c, bus.StreamsConfig{Replicas: 1, Shards: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "max_payload") {
		t.Errorf("nobody was told of the small messages: %s", log.String())
	}
	_, err = s.Publish(t.Context(), feedSubject, "1", make(bustest.Body, 2<<20))
	wantWords(t, err, bus.ErrTooLarge, "max_payload")

	denied := foreignServer(t, func(o *natsserver.Options) {
		o.JetStream = true
		o.Users = []*natsserver.User{{Username: "klive", Password: "secret", Permissions: &natsserver.Permissions{
			Publish: &natsserver.SubjectPermission{Deny: []string{"klive.>"}},
		}}}
	})
	log.Reset()
	quiet := &lockedBuffer{}
	c, err = bus.Connect(t.Context(), bus.ConnectConfig{URL: denied, User: "klive", Password: "secret", Logger: slog.New(slog.NewTextHandler(quiet, nil))})
	must(t, err)
	defer c.Close()
	must(t, c.Notify("x", nil))
	eventually(t, func() error {
		if text := quiet.String(); !strings.Contains(text, "bus.user") || !strings.Contains(text, "klive.>") {
			return fmt.Errorf("nobody was told of missing permissions: %s", text)
		}
		return nil
	})
}

// Nobody is there at first, which is noticed at once. Settings that cannot work are refused
// as such.
func TestConnectBeforeTheServer(t *testing.T) {
	address := fault.Ports(t, 1)[0]
	watch := fault.NewStopwatch()
	_, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: "nats://" + address})
	wantWords(t, err, bus.ErrUnavailable, address, "refused", "bus.url")
	if err := watch.Beyond(time.Second); err != nil {
		t.Errorf("an absent server was noticed, but %v", err)
	}
	startServer(t, bus.ServerConfig{Listen: address})
	c, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: "nats://" + address})
	must(t, err)
	must(t, c.Healthy())
	c.Close()
	_, err = bus.Connect(t.Context(), bus.ConnectConfig{URL: "nats://" + address, User: "x"})
	wantErr(t, err, bus.ErrInvalid)
}

// A cluster in which every node is restarted in turn keeps what it had been given,
// and never stops for long.
func TestClusterRollingRestart(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 15 s")
	}
	files := certificate(t)
	clients, peers := fault.Ports(t, 3), fault.Ports(t, 3)
	configs := make([]bus.ServerConfig, 3)
	servers := make([]*bus.Server, 3)
	for i := range configs {
		configs[i] = bus.ServerConfig{Name: fmt.Sprint("node", i+1), Dir: t.TempDir(), Listen: clients[i], ClusterName: "test",
			ClusterListen: peers[i], Routes: "nats://" + strings.Join(peers, ",nats://"), User: "klive", Password: "secret", TLS: files}
		servers[i] = startServer(t, configs[i])
	}
	for _, s := range servers {
		eventually(t, s.Healthy)
	}
	if stats, err := servers[0].Stats(); err != nil || len(stats.Peers) != 2 || stats.MaxMemory == 0 {
		t.Errorf("state of a node: %+v, %v", stats, err)
	}
	c, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: "tls://" + strings.Join(clients, ",tls://"), Name: "test",
		User: "klive", Password: "secret", TLS: bus.TLSFiles{CA: files.CA}, Replicas: 3})
	must(t, err)
	defer c.Close()
	streams := clusterStreams(t, c, bus.StreamsConfig{Shards: 2, MaxAge: time.Minute, MaxTotalBytes: 64 << 20})
	f := opened(t, func() (bus.Follower, error) { return streams.Follow(t.Context(), feedSubject, 0) })
	defer f.Close()
	bucket := clusterBucket(t, c, bus.BucketConfig{Name: "feeds"})
	eventually(t, func() error { _, err := bucket.Put(t.Context(), "kept", []byte("value")); return err })
	n := uint64(0)
	for i, s := range servers {
		restarted := make(chan struct{})
		go func() {
			defer close(restarted)
			s.Close()
			servers[i] = startServer(t, configs[i])
		}()
		longest, late := time.Duration(0), time.Now().Add(patience)
		for over := false; !over; {
			select {
			case <-restarted:
				err := servers[i].Healthy()
				if over = err == nil; !over && time.Now().After(late) {
					t.Fatalf("node %d has been restarted and does not serve: %v", i+1, err)
				}
			default:
				if time.Now().After(late) {
					t.Fatalf("node %d does not stop and start within %v", i+1, patience)
				}
			}
			n++
			watch := fault.NewStopwatch()
			eventually(t, func() error {
				_, err := streams.Publish(t.Context(), feedSubject, fmt.Sprint(n), bustest.Body("part"))
				return err
			})
			took, _ := watch.Took()
			longest = max(longest, took)
			if err := watch.Beyond(5 * time.Second); err != nil {
				t.Errorf("restart of node %d held up a publish: %v", i+1, err)
			}
			clusterReceive(t, f, n, fmt.Sprint(n))
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("restart of node %d: the longest publish took %v", i+1, longest)
	}
	kv := opened(t, func() (bus.KeyValue, error) { return bucket.Get(t.Context(), "kept") })
	if string(kv.Value) != "value" {
		t.Errorf("after the restarts the bucket holds %q", kv.Value)
	}
	again := opened(t, func() (bus.Follower, error) { return streams.Follow(t.Context(), feedSubject, 1) })
	defer again.Close()
	clusterReceive(t, again, 1, "1")
	if c.Traffic().Reconnects == 0 {
		t.Error("the connection was never lost")
	}
}

// A cluster begins when all three nodes are there, whose routes name all of them; two go on, and
// begin again, without the third; and one of them alone names the others.
func TestTwoNodesOfThree(t *testing.T) {
	t.Parallel()
	peers := fault.Ports(t, 3)
	host, err := os.Hostname()
	must(t, err)
	port := func(i int) string { _, p, _ := net.SplitHostPort(peers[i]); return p }
	routes := "nats://" + peers[0] + ",nats://" + host + ":" + port(1) + ",nats://" + peers[2]
	configs := make([]bus.ServerConfig, 3)
	for i, want := range []string{"127.0.0.1", host, "127.0.0.1"} {
		configs[i] = bus.ServerConfig{Dir: t.TempDir(), ClusterName: "test", ClusterListen: ":" + port(i), Routes: routes}
		if configs[i].Name = configs[i].PlaceName(t.Context()); configs[i].Name != want+"-"+port(i) {
			t.Errorf("node %d is called %s", i, configs[i].Name)
		}
	}
	first, second := startServer(t, configs[0]), startServer(t, configs[1])
	wantWords(t, first.Healthy(), bus.ErrUnavailable, peers[2], "all of them when a cluster begins")
	third := startServer(t, configs[2])
	for _, s := range []*bus.Server{first, second, third} {
		eventually(t, s.Healthy)
	}
	for _, s := range []*bus.Server{first, second, third} {
		s.Close()
	}
	first, second = startServer(t, configs[0]), startServer(t, configs[1])
	for _, s := range []*bus.Server{first, second} {
		eventually(t, s.Healthy)
	}
	eventually(t, func() error {
		if missing := first.Missing(); missing != "not connected: "+peers[2]+" (1 of the 2 other nodes in bus.cluster.routes)" {
			return fmt.Errorf("a node that lacks one says: %q", missing)
		}
		return nil
	})
	second.Close()
	eventually(t, func() error {
		err := first.Healthy()
		if err == nil || !strings.Contains(err.Error(), "not connected: "+host+":"+port(1)+", "+peers[2]) {
			return fmt.Errorf("the node alone says: %v", err)
		}
		return nil
	})
}

// One node of three cannot serve: it says so, and so does who connects to it.
func TestServerWithoutItsCluster(t *testing.T) {
	peers := fault.Ports(t, 3)
	s := startServer(t, bus.ServerConfig{ClusterName: "test", ClusterListen: peers[0], Routes: "nats://" + strings.Join(peers, ",nats://")})
	wantWords(t, s.Healthy(), bus.ErrUnavailable, "not connected: "+peers[1]+", "+peers[2]+" (2 of the 2 other nodes in bus.cluster.routes)", "bus.cluster.name")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := bus.Connect(ctx, bus.ConnectConfig{URL: "nats://" + s.Addr().String()})
	wantErr(t, err, bus.ErrUnavailable)
	t.Log(err)
	watch := fault.NewStopwatch()
	s.Close()
	if err := watch.Beyond(5 * time.Second); err != nil {
		t.Errorf("it stops, but %v", err)
	}
}
