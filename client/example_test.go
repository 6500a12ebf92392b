package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ottla/ottla/broker/brokertest"
	"github.com/ottla/ottla/client"
	"github.com/ottla/ottla/client/internal/exampletb"
	"github.com/ottla/ottla/proto/kerr"
)

func ExampleDial() {
	t := exampletb.New()
	defer t.Close()
	servers := brokertest.Start(t, brokertest.Options{}) // for example "localhost:9092" otherwise, without the dialer

	ctx := context.Background()
	cl, err := client.Dial(ctx, servers.Bootstrap(), client.ClientID("billing"), client.Dialer(servers.Dialer()))
	if err != nil {
		log.Panic(err)
	}
	defer cl.Close()
	brokers, err := cl.Brokers(ctx)
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(len(brokers), "broker at", brokers[0].Addr())
	// Output: 1 broker at broker-0:9092
}

func ExampleRetriable() {
	err := &client.Error{Op: "produce to", Broker: 1, Err: kerr.NotEnoughReplicas.With("1 of 2 in-sync replicas")}
	fmt.Println(err)
	fmt.Println(client.Retriable(err), errors.Is(err, kerr.NotEnoughReplicas))
	// Output:
	// produce to, broker 1: NOT_ENOUGH_REPLICAS: 1 of 2 in-sync replicas
	// true true
}
