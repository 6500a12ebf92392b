package brokertest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ottla/ottla/config"
)

// door stands before ZooKeeper.
type door struct {
	cluster *Cluster
	ln      net.Listener
	refuse  atomic.Bool // nobody gets in
	hangUp  atomic.Bool // everybody gets a session, and no answer to anything else
	wg      sync.WaitGroup
}

func openDoor(t *testing.T, c *Cluster, addr string) *door {
	t.Helper()
	ln, err := c.Network().Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{cluster: c, ln: ln}
	d.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			d.wg.Go(func() { d.serve(conn) })
		}
	})
	return d
}

func (d *door) close() {
	_ = d.ln.Close()
	d.wg.Wait()
}

// serve passes frames on in both directions until the door is closed for this connection.
func (d *door) serve(client net.Conn) {
	defer client.Close()
	if d.refuse.Load() {
		return
	}
	server, err := d.cluster.Network().Dialer("door")(context.Background(), zookeeperAddr)
	if err != nil {
		return
	}
	defer server.Close()
	requests := make(chan struct{})
	go func() {
		defer close(requests)
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	for n := 0; ; n++ {
		var head [4]byte
		if _, err := io.ReadFull(server, head[:]); err != nil {
			break
		}
		frame := make([]byte, 4+binary.BigEndian.Uint32(head[:]))
		copy(frame, head[:])
		if _, err := io.ReadFull(server, frame[4:]); err != nil || d.refuse.Load() || n > 0 && d.hangUp.Load() {
			break
		}
		if _, err := client.Write(frame); err != nil {
			break
		}
	}
	_ = client.Close()
	<-requests
}

// TestABrokerOutlivesAZooKeeperThatHangsUp gives a broker a new session, and lets every request in it fail for a while: ZooKeeper is overwhelmed when
// all its clients come back after an outage. The broker registers again when it can.
func TestABrokerOutlivesAZooKeeperThatHangsUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Settings: map[string]string{"zookeeper.session.timeout.ms": "6000"}})
		c.Stop(t, 0)
		d := openDoor(t, c, "door:2181")
		defer d.close()
		if err := c.start(c.nodes[0], config.Properties{"zookeeper.connect": "door:2181"}); err != nil {
			t.Fatal(err)
		}
		defer c.Stop(t, 0)
		s := look(t, c)
		_, before, ok := registered(t, s, 0)
		d.refuse.Store(true)
		c.Network().Reset(host(0), "door")
		for ok {
			<-time.After(time.Second)
			_, _, ok = registered(t, s, 0)
		}
		d.hangUp.Store(true)
		d.refuse.Store(false)
		<-time.After(30 * time.Second)
		if err := c.Broker(0).Err(); err != nil {
			t.Fatalf("the broker has given up: %v", err)
		}
		d.hangUp.Store(false)
		<-time.After(10 * time.Second)
		if _, after, ok := registered(t, s, 0); !ok || after.Czxid <= before.Czxid {
			t.Errorf("registered %v", ok)
		}
		cl := c.Client(t)
		createTopic(t, cl, "events", 1, nil)
		send(t, cl, "events", "a", 10)
	})
}
