package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/zk/shell"
)

// zkTLSOption names the file with the settings of encrypted connections to ZooKeeper.
const zkTLSOption = "-zk-tls-config-file"

// zkTLSPrefix is what the settings in that file begin with.
const zkTLSPrefix = "zookeeper."

// runZooKeeperShell is zookeeper-shell (F§7.16): ZooKeeper's command line client.
func runZooKeeperShell(ctx context.Context, args []string, std streams) int {
	cfg, err := zooKeeperShellConfig(args)
	if err != nil {
		fmt.Fprintln(std.err, err)
		return 1
	}
	if cfg.Connect == "" {
		fmt.Fprintln(std.err, "USAGE: ottla zookeeper-shell zookeeper_host:port[/path] [-zk-tls-config-file file] [args...]")
		return 1
	}
	cfg.In, cfg.Out, cfg.Err = std.in, std.out, std.err
	cfg.Prompt = isTerminal(std.in) && isTerminal(std.out)
	code := shell.Run(ctx, cfg)
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	return code
}

// zooKeeperShellConfig reads the command line: the servers, with or without -server before them, options, then a command with its arguments.
func zooKeeperShellConfig(args []string) (shell.Config, error) {
	cfg := shell.Config{
		UsageLine: "ZooKeeper -server host:port [-zk-tls-config-file <file>] cmd args",
		Version:   versionName(),
		ReadFile:  os.ReadFile,
	}
	if i := slices.Index(args, zkTLSOption); i >= 0 {
		if i == len(args)-1 {
			return cfg, kafkaError("Error: no filename provided with option %s", zkTLSOption)
		}
		var err error
		if cfg.Dial, err = zooKeeperTLS(args[i+1]); err != nil {
			return cfg, err
		}
		args = slices.Delete(slices.Clone(args), i, i+2)
	}
	for len(args) > 0 && (cfg.Connect == "" || strings.HasPrefix(args[0], "-")) {
		option := args[0]
		if !strings.HasPrefix(option, "-") {
			cfg.Connect, args = option, args[1:]
			continue
		}
		args = args[1:]
		switch option {
		case "-server", "-timeout":
			if len(args) == 0 {
				return cfg, kafkaError("Error: no argument found for option %s", option)
			}
			if option == "-server" {
				cfg.Connect = args[0]
			} else if ms, err := strconv.ParseInt(args[0], 10, 32); err != nil || ms <= 0 {
				return cfg, kafkaError("Error: the timeout is a number of milliseconds, not %s", args[0])
			} else {
				cfg.Timeout = time.Duration(ms) * time.Millisecond
			}
			args = args[1:]
		case "-r":
			cfg.ReadOnly = true
		case "-waitforconnection":
			cfg.Wait = true
		case "-help", "--help", "-h":
			cfg.Connect = ""
			return cfg, nil
		default:
			return cfg, kafkaError("Error: unknown option %s", option)
		}
	}
	cfg.Command = args
	return cfg, nil
}

// zooKeeperTLS reads the settings of encrypted connections: zookeeper.ssl.client.enable and those that begin with zookeeper.ssl. Stores are PEM files.
func zooKeeperTLS(name string) (shell.Dialer, error) {
	file, err := config.ReadProperties(name)
	if err != nil {
		return nil, err
	}
	get := func(key string) string { return file[zkTLSPrefix+key] }
	if get("ssl.client.enable") != "true" {
		return nil, nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if trust := get("ssl.truststore.location"); trust != "" {
		pem, err := pemStore(trust, get("ssl.truststore.type"))
		if err != nil {
			return nil, err
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in it", trust)
		}
	}
	if key := get("ssl.keystore.location"); key != "" {
		pem, err := pemStore(key, get("ssl.keystore.type"))
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(pem, pem)
		if err != nil {
			return nil, fmt.Errorf("read the key store %s: %w", key, err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	algorithm, set := file[zkTLSPrefix+"ssl.endpoint.identification.algorithm"]
	verifyHost := !set || algorithm != ""
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := tls.Dialer{Config: settings.Clone()}
		if !verifyHost {
			verifyChainOnly(d.Config)
		}
		return d.DialContext(ctx, network, addr)
	}, nil
}

// verifyChainOnly makes connections check who signed a certificate, not whose it is: the empty endpoint identification algorithm.
func verifyChainOnly(c *tls.Config) {
	roots := c.RootCAs
	c.InsecureSkipVerify = true // the check below takes its place
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the server has no certificate")
		}
		chain := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, cert := range state.PeerCertificates[1:] {
			chain.Intermediates.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(chain)
		return err
	}
}

// pemStore reads a key store or trust store. Java's own formats cannot be read.
func pemStore(name, format string) ([]byte, error) {
	if format == "" && strings.HasSuffix(name, ".pem") {
		format = "PEM"
	}
	if !strings.EqualFold(format, "PEM") {
		return nil, fmt.Errorf("%s is not of the type PEM, the only one that can be read; \"keytool\" and \"openssl pkcs12\" convert others", name)
	}
	return os.ReadFile(name)
}
