package embedded_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/memnet"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/embedded"
)

// A server for a Go program: any ZooKeeper client can connect to its address. In a test the data directory would be
// t.TempDir() and Close a t.Cleanup; or there is no directory at all, but a disk in memory.
func ExampleStart() {
	server, err := embedded.Start(embedded.Config{DataDir: "/zookeeper", FS: vfs.NewMem(), Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	ctx := context.Background()
	client, err := zk.Open(ctx, zk.Config{Connect: server.Addr().String()})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }()
	path, err := client.Session().Create(ctx, "/hello", []byte("world"), 0)
	if err != nil {
		log.Fatal(err)
	}
	data, stat, err := client.Session().Get(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s, version %d\n", path, data, stat.Version)
	// Output: /hello: world, version 0
}

// A server whose configuration is a file that was written for Apache ZooKeeper.
func ExampleParseProperties() {
	cfg, warnings, err := embedded.ParseProperties([]byte("dataDir=/var/lib/zookeeper\nclientPort=2181\ntickTime=2000\ninitLimit=5\nfoo=bar\n"))
	fmt.Println(cfg.DataDir, cfg.Addr, cfg.TickTime, warnings, err)

	_, _, err = embedded.ParseProperties([]byte("dataDir=/d\nclientPort=2181\nserver.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n"))
	fmt.Println(err)
	// Output:
	// /var/lib/zookeeper :2181 2s [foo is not a key of this server and has no effect] <nil>
	// zookeeper configuration: 3 servers are configured (server.N): this is a standalone server, run Apache ZooKeeper for an ensemble
}

// TestInABubble is how a test runs a server and its clients in virtual time, without a port and without a file: an hour
// passes at once.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		ln, err := network.Listen("zookeeper:2181")
		if err != nil {
			t.Fatal(err)
		}
		server, err := embedded.Start(embedded.Config{DataDir: "/data", FS: vfs.NewMem(), Listener: ln})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		})
		ctx, dial := t.Context(), network.Dialer("client")
		client, err := zk.Open(ctx, zk.Config{
			Connect: "zookeeper:2181", SessionTimeout: 10 * time.Second,
			Dial: func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close(context.Background()) })
		session := client.Session()
		path, err := session.Create(ctx, "/mine", nil, zk.Ephemeral)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		<-time.After(time.Hour)
		_, stat, err := session.Get(ctx, path)
		if err != nil || stat.EphemeralOwner != session.ID() || time.Since(began) != time.Hour {
			t.Errorf("after %v: %+v, %v", time.Since(began), stat, err)
		}
	})
}
