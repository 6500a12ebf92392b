package main

import (
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/client/producer"
	"github.com/ottla/ottla/config"
	"github.com/ottla/ottla/proto/record"
)

// producerOptions turns settings into the options of a producer.
func producerOptions(p *config.Producer, log hclog.Logger) ([]producer.Option, error) {
	codec, err := record.ParseCodec(p.Compression.Type)
	if err != nil {
		return nil, err
	}
	options := []producer.Option{
		producer.WithAcks(producer.Acks(p.Acks)), producer.Idempotence(p.Idempotence), producer.Linger(p.Linger), producer.BatchSize(p.BatchSize), producer.MaxRequestSize(p.MaxRequestSize),
		producer.BufferMemory(p.BufferMemory), producer.MaxBlock(p.MaxBlock), producer.Compression(codec), producer.Retries(p.Retries),
		producer.RetryBackoff(p.RetryBackoff, p.RetryBackoffMax), producer.MaxInFlight(p.MaxInFlight), producer.RequestTimeout(p.RequestTimeout),
		producer.DeliveryTimeout(p.DeliveryTimeout), producer.PartitionerIgnoreKeys(p.Partitioner.IgnoreKeys),
		producer.AdaptivePartitioning(p.Partitioner.Adaptive), producer.Logger(log),
	}
	switch p.Compression.Type {
	case "gzip", "lz4", "zstd":
		options = append(options, producer.CompressionLevel(p.Compression.Level))
	}
	if class := p.Partitioner.Class; class != "" && !strings.HasSuffix(class, "DefaultPartitioner") {
		log.Warn("partitioner.class " + class + " is not available, the built-in partitioner is used")
	}
	return options, nil
}
