package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/zk/embedded"
)

// selfSigned writes a certificate for localhost and its key to a file.
func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// TestTheShellOverTLS checks what a file of settings for encrypted connections means.
func TestTheShellOverTLS(t *testing.T) {
	dir := t.TempDir()
	store, other := filepath.Join(dir, "ours.pem"), filepath.Join(dir, "other.pem")
	pair := selfSigned(t, store)
	selfSigned(t, other)
	trusted := x509.NewCertPool()
	trusted.AddCert(pair.Leaf)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := embedded.Start(embedded.Config{
		DataDir: "/zk", FS: vfs.NewMem(), TickTime: 500 * time.Millisecond,
		Listener: tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	_, port, _ := net.SplitHostPort(plain.Addr().String())
	for _, c := range []struct {
		name, host, settings string
		code                 int
	}{
		{"trusted", "localhost", "zookeeper.ssl.truststore.location=" + store + "\nzookeeper.ssl.keystore.location=" + store, 0},
		{"another name", "127.0.0.1", "zookeeper.ssl.truststore.location=" + store + "\nzookeeper.ssl.keystore.location=" + store, 1},
		{"any name", "127.0.0.1", "zookeeper.ssl.endpoint.identification.algorithm=\nzookeeper.ssl.truststore.location=" + store + "\nzookeeper.ssl.keystore.location=" + store, 0},
		{"any name, not trusted", "127.0.0.1", "zookeeper.ssl.endpoint.identification.algorithm=\nzookeeper.ssl.truststore.location=" + other + "\nzookeeper.ssl.keystore.location=" + store, 1},
		{"not trusted", "localhost", "zookeeper.ssl.truststore.location=" + other + "\nzookeeper.ssl.keystore.location=" + store, 1},
		{"not known to the server", "localhost", "zookeeper.ssl.truststore.location=" + store, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tls.properties")
			if err := os.WriteFile(file, []byte("zookeeper.ssl.client.enable=true\n"+c.settings+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			code := runZooKeeperShell(t.Context(), []string{c.host + ":" + port, "-zk-tls-config-file", file, "ls", "/"}, streams{strings.NewReader(""), &out, &errs})
			if code != c.code {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, &out, &errs)
			}
		})
	}
}
