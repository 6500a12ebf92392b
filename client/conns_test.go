package client

import (
	"errors"
	"testing"

	"google.golang.org/grpc/connectivity"
)

func TestConnectionsAreKeptApartAndRetired(t *testing.T) {
	c := newConns(&config{})
	control, err := c.get("b1:9092", LaneControl)
	if err != nil {
		t.Fatal(err)
	}
	bulk, err := c.get("b1:9092", LaneProduce)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.get("b1:9092", LaneControl)
	if err != nil {
		t.Fatal(err)
	}
	if control == bulk || control != again {
		t.Error("there should be one connection for each lane")
	}
	c.retire(map[string]bool{"b1:9092": true})
	c.retire(map[string]bool{})
	c.retire(map[string]bool{"b1:9092": true}) // it was missing for a moment only
	c.retire(map[string]bool{})
	if control.GetState() == connectivity.Shutdown {
		t.Error("closed the connection to a broker that was missing in one answer")
	}
	c.retire(map[string]bool{})
	if control.GetState() != connectivity.Shutdown || bulk.GetState() != connectivity.Shutdown {
		t.Error("kept the connections to a broker that is gone")
	}
	if fresh, err := c.get("b1:9092", LaneControl); err != nil || fresh == control {
		t.Errorf("a broker that has come back: %v", err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
	if _, err := c.get("b1:9092", LaneControl); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}
