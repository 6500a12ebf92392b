package main

import (
	"io"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ottla/ottla/cmd/ottla/internal/kafkalog"
)

// serverLog makes the log of a server: lines on out, and in the files of LOG_DIR if the environment names that directory, which the start scripts
// see to. KAFKA_LOG4J_ROOT_LOGLEVEL changes the level, as in Kafka's image. The function closes the files.
func serverLog(out io.Writer) (*kafkalog.Logger, func()) {
	level := hclog.LevelFromString(os.Getenv("KAFKA_LOG4J_ROOT_LOGLEVEL"))
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	dir := os.Getenv("LOG_DIR")
	if dir == "" {
		return kafkalog.NewServer(kafkalog.Stream(out), level, time.Now), func() {}
	}
	files, err := kafkalog.OpenFiles(dir, out, time.Now())
	if err != nil {
		log := kafkalog.NewServer(kafkalog.Stream(out), level, time.Now)
		log.Warn("there will be no log files", "error", err)
		return log, func() {}
	}
	return kafkalog.NewServer(files, level, time.Now), func() { _ = files.Close() } // everything has been written already
}
