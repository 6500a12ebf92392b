package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/proto/cluster"
)

// runDeleteRecords is kafka-delete-records (F§7.8).
func runDeleteRecords(ctx context.Context, args []string, std streams) int {
	s := flags.New("This tool helps to delete records of the given partitions down to the specified offset.")
	bootstrap := s.Value("bootstrap-server", flags.String, "server(s) to use for bootstrapping", "REQUIRED: the brokers to ask first.")
	file := s.Value("offset-json-file", flags.String, "Offset json file path", `REQUIRED: a file that says which records to delete, in the form {"partitions":[{"topic":"foo","partition":1,"offset":1}],"version":1}: those before the offset, or all with -1.`)
	commandConfig := s.Value("command-config", flags.String, "command config property file path", "A properties file with settings for the admin client.")
	if code, done := parseTool(s, args, std); done {
		return code
	}
	if err := s.CheckRequired(bootstrap, file); err != nil {
		return usageError(s, err, std)
	}
	err := func() error {
		data, err := os.ReadFile(file.Text())
		if err != nil {
			return err
		}
		before, err := parseOffsets(data)
		if err != nil {
			return err
		}
		cl, timeout, err := dialAdmin(ctx, bootstrap.Text(), commandConfig, "adminclient-1", toolLogger(std.err, "org.apache.kafka.tools.DeleteRecordsCommand"))
		if err != nil {
			return err
		}
		defer cl.Close()
		fmt.Fprintln(std.out, "Executing records delete operation")
		results, err := admin.New(cl).DeleteRecords(ctx, before, timeout)
		if err != nil {
			return err
		}
		fmt.Fprintln(std.out, "Records delete operation completed:")
		for _, tp := range sortedPartitions(results) {
			if r := results[tp]; r.Err != nil {
				fmt.Fprintf(std.out, "partition: %s\terror: %s\n", tp, text(r.Err))
			} else {
				fmt.Fprintf(std.out, "partition: %s\tlow_watermark: %d\n", tp, r.LowWatermark)
			}
		}
		return nil
	}()
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		return interrupted(ctx)
	}
	fmt.Fprintln(std.err, text(err))
	return 1
}

// parseOffsets reads the file that says before which offsets to delete (DeleteRecordsCommand.parseOffsetJsonStringWithoutDedup). Unknown members
// do not count, and a missing version is 1.
func parseOffsets(data []byte) (map[cluster.TopicPartition]cluster.Offset, error) {
	var file struct {
		Version    *int `json:"version"`
		Partitions *[]struct {
			Topic     *string `json:"topic"`
			Partition *int32  `json:"partition"`
			Offset    *int64  `json:"offset"`
		} `json:"partitions"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, invalidJSON(err)
	}
	if file.Version != nil && *file.Version != 1 {
		return nil, unsupportedVersion(*file.Version)
	}
	if file.Partitions == nil {
		return nil, kafkaError("Missing partitions field")
	}
	before := map[cluster.TopicPartition]cluster.Offset{}
	var twice []string
	for _, p := range *file.Partitions {
		if p.Topic == nil || p.Partition == nil || p.Offset == nil {
			return nil, kafkaError("Each of the partitions needs the fields topic, partition and offset")
		}
		tp := cluster.TopicPartition{Topic: *p.Topic, Partition: *p.Partition}
		if _, ok := before[tp]; ok && !slices.Contains(twice, tp.String()) {
			twice = append(twice, tp.String())
		}
		before[tp] = cluster.Offset(*p.Offset)
	}
	if len(twice) > 0 {
		return nil, kafkaError("Offset json file contains duplicate topic partitions: %s", strings.Join(twice, ","))
	}
	return before, nil
}

// sortedPartitions returns the keys in order.
func sortedPartitions[V any](m map[cluster.TopicPartition]V) []cluster.TopicPartition {
	tps := make([]cluster.TopicPartition, 0, len(m))
	for tp := range m {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, cluster.TopicPartition.Compare)
	return tps
}
