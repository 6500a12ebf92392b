package client_test

import (
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/fakecluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test in virtual time. A goroutine that is left behind fails it.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// dialFake connects to a fake cluster and closes the client when the test ends.
func dialFake(t *testing.T, fc *fakecluster.Cluster, opts ...client.Option) *client.Client {
	t.Helper()
	cl, err := client.Dial(t.Context(), fc.Bootstrap(), append([]client.Option{client.Dialer(fc.Dialer())}, opts...)...)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() {
		if err := cl.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return cl
}
