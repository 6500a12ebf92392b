package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/ottla/ottla/broker/server"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/dial"
)

// drainTime bounds how long calls under way may take when the broker closes.
const drainTime = 5 * time.Second

// listeners holds the bound ports and, once it serves, the gRPC server behind them.
type listeners struct {
	log        hclog.Logger
	bound      []net.Listener
	advertised []cluster.Endpoint
	grpc       *grpc.Server
	serving    sync.WaitGroup
}

// bind opens every listener of the settings. Nothing is accepted before serve.
func bind(s *config.Server, listen func(string) (net.Listener, error), hostName string, log hclog.Logger) (*listeners, error) {
	l := &listeners{log: log}
	ports := map[string]int32{}
	for _, e := range s.Listeners() {
		addr := net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
		in, err := listen(addr)
		if err != nil {
			l.close(context.Background())
			return nil, bindError(addr, err)
		}
		if ports[e.Listener], err = portOf(in.Addr()); err != nil {
			in.Close()
			l.close(context.Background())
			return nil, err
		}
		l.bound = append(l.bound, server.Listen(in, server.ListenerConfig{Name: e.Listener, Logger: log}))
	}
	for _, e := range s.AdvertisedListeners() {
		if e.Host == "" {
			host, err := advertisedHost(hostName)
			if err != nil {
				l.close(context.Background())
				return nil, err
			}
			e.Host = host
		}
		if e.Port == 0 {
			e.Port = ports[e.Listener]
		}
		l.advertised = append(l.advertised, e)
	}
	return l, nil
}

// bindError tells an operator what to do about a port that cannot be had.
func bindError(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: the port is taken by another process; stop that process or choose another port with listeners=PLAINTEXT://%s:<port>", addr, hostOf(addr))
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s: not permitted; choose a port above 1023 with listeners=PLAINTEXT://%s:<port>", addr, hostOf(addr))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: this machine does not have that address; correct listeners", addr)
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}

func hostOf(addr string) string {
	h, _, _ := net.SplitHostPort(addr)
	return h
}

func portOf(a net.Addr) (int32, error) {
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return 0, fmt.Errorf("read the port of listener %s: %w", a, err)
	}
	n, err := strconv.ParseInt(port, 10, 32)
	return int32(n), err
}

// advertisedHost is the name under which clients reach this machine when advertised.listeners does not say.
func advertisedHost(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	h, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find this machine's name to advertise: %w; set advertised.listeners", err)
	}
	return h, nil
}

func (l *listeners) endpoints() []cluster.Endpoint {
	return append([]cluster.Endpoint(nil), l.advertised...)
}

// serve starts answering on all listeners.
func (l *listeners) serve(srv *server.Server, opts dial.ServerOptions) {
	l.grpc = grpc.NewServer(append(opts.GRPC(), srv.Options()...)...)
	srv.Register(l.grpc)
	for _, in := range l.bound {
		l.serving.Go(func() {
			if err := l.grpc.Serve(in); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				l.log.Error("listener ended", "address", in.Addr().String(), "error", err)
			}
		})
	}
}

// close stops accepting and answering; calls under way get until drainTime or the end of ctx.
func (l *listeners) close(ctx context.Context) {
	if l.grpc != nil {
		graceful := make(chan struct{})
		go func() { l.grpc.GracefulStop(); close(graceful) }()
		t := time.NewTimer(drainTime)
		select {
		case <-graceful:
		case <-t.C:
			l.grpc.Stop()
			<-graceful
		case <-ctx.Done():
			l.grpc.Stop()
			<-graceful
		}
		t.Stop()
	}
	for _, in := range l.bound {
		_ = in.Close() // a second close of a listener that the gRPC server has closed already
	}
	l.serving.Wait()
}
