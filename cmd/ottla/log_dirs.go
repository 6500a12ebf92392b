package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/client/admin"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
	"github.com/ottla/ottla/proto/cluster"
	"github.com/ottla/ottla/proto/kerr"
)

// runLogDirs is kafka-log-dirs (F§7.14).
func runLogDirs(ctx context.Context, args []string, std streams) int {
	s := flags.New("This tool helps to query log directory usage on the specified brokers.")
	bootstrap := s.Value("bootstrap-server", flags.String, "The server(s) to use for bootstrapping", "REQUIRED: the brokers to ask first.")
	describe := s.Flag("describe", "REQUIRED: describe the log directories of the brokers.")
	brokerList := s.Value("broker-list", flags.String, "Broker list", "The brokers to ask, as 0,1,2; all of them when not given.").Default("")
	topicList := s.Value("topic-list", flags.String, "Topic list", "The topics of interest, as topic1,topic2; all of them when not given.").Default("")
	commandConfig := s.Value("command-config", flags.String, "Admin client property file", "A properties file with settings for the admin client.")
	if code, done := parseTool(s, args, std); done {
		return code
	}
	if err := s.CheckRequired(bootstrap, describe); err != nil {
		return usageError(s, err, std)
	}
	err := func() error {
		wanted, err := parseBrokerIDs(brokerList.Text())
		if err != nil {
			return err
		}
		cl, _, err := dialAdmin(ctx, bootstrap.Text(), commandConfig, "adminclient-1", toolLogger(std.err, "org.apache.kafka.tools.LogDirsCommand"))
		if err != nil {
			return err
		}
		defer cl.Close()
		return printLogDirs(ctx, admin.New(cl), wanted, nonEmpty(topicList.Text()), std.out)
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

// What the tool prints, in the order of Kafka's members.
type (
	logDirsReport struct {
		Version int                 `json:"version"`
		Brokers []brokerLogDirsJSON `json:"brokers"`
	}
	brokerLogDirsJSON struct {
		Broker  cluster.BrokerID `json:"broker"`
		LogDirs []logDirJSON     `json:"logDirs"`
	}
	logDirJSON struct {
		LogDir     string           `json:"logDir"`
		Error      *string          `json:"error"`
		Partitions []logReplicaJSON `json:"partitions"`
	}
	logReplicaJSON struct {
		Partition string `json:"partition"`
		Size      int64  `json:"size"`
		OffsetLag int64  `json:"offsetLag"`
		IsFuture  bool   `json:"isFuture"`
	}
)

// printLogDirs asks the brokers and prints what they say about the topics; without any named, about all.
func printLogDirs(ctx context.Context, a *admin.Admin, brokers []cluster.BrokerID, topics []string, out io.Writer) error {
	c, err := a.DescribeCluster(ctx)
	if err != nil {
		return err
	}
	var existing []cluster.BrokerID
	for _, b := range c.Brokers {
		existing = append(existing, b.ID)
	}
	if len(brokers) == 0 {
		brokers = existing
	}
	unknown := slices.DeleteFunc(slices.Clone(brokers), func(id cluster.BrokerID) bool { return slices.Contains(existing, id) })
	if len(unknown) > 0 {
		return kafkaError("ERROR: The given brokers do not exist from --broker-list: %s. Current existent brokers: %s", joinIDs(unknown), joinIDs(existing))
	}
	fmt.Fprintln(out, "Querying brokers for log directories information")
	report := logDirsReport{Version: 1, Brokers: []brokerLogDirsJSON{}}
	for _, id := range brokers {
		dirs, err := a.DescribeLogDirs(ctx, id)
		if err != nil {
			return err
		}
		report.Brokers = append(report.Brokers, brokerLogDirsJSON{id, logDirsJSON(dirs, topics)})
	}
	fmt.Fprintf(out, "Received log directory information from brokers %s\n", joinIDs(brokers))
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(report)
}

// logDirsJSON puts the directories of one broker into the form that is printed.
func logDirsJSON(dirs []admin.LogDir, topics []string) []logDirJSON {
	list := []logDirJSON{}
	for _, d := range dirs {
		j := logDirJSON{LogDir: d.Path, Partitions: []logReplicaJSON{}}
		if d.Err != nil {
			name := kerr.CodeOf(d.Err).Name()
			if kerr.CodeOf(d.Err) == kerr.KafkaStorageError {
				name = exceptionClass(kerr.KafkaStorageError)
			}
			j.Error = &name
		}
		for _, r := range d.Replicas {
			if len(topics) == 0 || slices.Contains(topics, r.TopicPartition.Topic) {
				j.Partitions = append(j.Partitions, logReplicaJSON{r.TopicPartition.String(), r.Size, r.OffsetLag, r.Future})
			}
		}
		list = append(list, j)
	}
	return list
}

// parseBrokerIDs reads ids separated by commas, sorted, each once.
func parseBrokerIDs(list string) ([]cluster.BrokerID, error) {
	var ids []cluster.BrokerID
	for _, item := range nonEmpty(list) {
		n, err := strconv.ParseInt(item, 10, 32)
		if err != nil {
			return nil, kafkaError("For input string: %q", item)
		}
		ids = append(ids, cluster.BrokerID(n))
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// nonEmpty splits at commas and leaves out what is empty.
func nonEmpty(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(item string) bool { return item == "" })
}

// joinIDs lists ids with commas.
func joinIDs(ids []cluster.BrokerID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, ",")
}
