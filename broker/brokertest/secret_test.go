package brokertest

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ottla/ottla/proto/dial"
	"github.com/ottla/ottla/proto/ottlapb"
	"github.com/ottla/ottla/zk"
	"github.com/ottla/ottla/zk/znode"
)

// TestForgedOrdersAreRefusedAndTheSecretMayChange gives orders as an ordinary client, on the listener that clients and brokers share. Then the
// brokers' secret is replaced, made nonsense, and deleted while the cluster works.
func TestForgedOrdersAreRefusedAndTheSecretMayChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := Start(t, Options{Brokers: 3, Logger: testLogger(t)})
		cl := c.Client(t)
		replicated(t, cl, map[string]string{"min.insync.replicas": "2"}, 1, 2, 0)
		o := observe(t, c)
		w := load(t, cl, "r")
		forge := func(token func() string) error {
			t.Helper()
			cc, err := dial.Connect(host(1)+":"+brokerPort, dial.ClientOptions{Dial: c.Dialer(), BrokerToken: token})
			if err != nil {
				t.Fatal(err)
			}
			defer cc.Close()
			_, err = ottlapb.NewControlServiceClient(cc).StopReplica(t.Context(), &ottlapb.StopReplicaRequest{
				ControllerId: 0, ControllerEpoch: 1 << 30, BrokerEpoch: -1,
				Partitions: []*ottlapb.StopReplicaPartition{{Topic: "events", LeaderEpoch: -2, DeletePartition: true}},
			})
			return err
		}
		if err := forge(nil); status.Code(err) != codes.PermissionDenied {
			t.Fatalf("a forged order: %v", err)
		}
		secret := func() string {
			t.Helper()
			data, _, err := o.s.Get(t.Context(), znode.BrokerSecretPath)
			if err != nil {
				t.Fatal(err)
			}
			s, err := znode.DecodeBrokerSecret(znode.BrokerSecretPath, data)
			if err != nil || len(s) < 20 {
				t.Fatalf("%q, %v", s, err)
			}
			return s
		}
		old := secret()
		for _, content := range [][]byte{znode.EncodeBrokerSecret("another"), []byte("{")} {
			if _, err := o.s.Set(t.Context(), znode.BrokerSecretPath, content, zk.AnyVersion); err != nil {
				t.Fatal(err)
			}
			<-time.After(2 * time.Second)
			c.Kill(t, 0) // another controller must be able to give orders, and brokers that come to be given some
			<-time.After(20 * time.Second)
			if content[len(content)-1] == '{' {
				if err := c.TryRestart(0); err == nil {
					t.Error("a broker has started without a secret that it understands")
				}
				if err := o.s.Delete(t.Context(), znode.BrokerSecretPath, zk.AnyVersion); err != nil {
					t.Fatal(err)
				}
				<-time.After(2 * time.Second)
			}
			again(t, c, 0)
			o.awaitISR(events, 0, 1, 2)
			if err := forge(func() string { return old }); status.Code(err) != codes.PermissionDenied {
				t.Errorf("with the old secret: %v", err)
			}
		}
		if s := secret(); s == old || s == "another" {
			t.Errorf("after its node was deleted the secret is %q", s)
		}
		<-time.After(time.Second)
		w.judge(cl)
		settled(t, c, events, 0, 1, 2)
	})
}
