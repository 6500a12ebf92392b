package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/ottla/ottla/broker/commitlog/dump"
	"github.com/ottla/ottla/cmd/ottla/internal/flags"
)

// dumpLogFlags are the options of kafka-dump-log (F§7.10).
type dumpLogFlags struct {
	set *flags.Set

	files, printData, verifyOnly, sanity, maxMessageSize, maxBytes *flags.Option
	deep, valueDecoder, keyDecoder, offsets, transactions, skip    *flags.Option
}

// stringDecoder is the decoder of keys and values when none is named.
const stringDecoder = "org.apache.kafka.tools.api.StringDecoder"

// newDumpLogFlags declares the options.
func newDumpLogFlags() *dumpLogFlags {
	s := flags.New("This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt log segment.")
	return &dumpLogFlags{
		set:            s,
		files:          s.Value("files", flags.String, "file1, file2, ...", "REQUIRED: the files, separated by commas: segments, indexes, and snapshots of producers."),
		printData:      s.Flag("print-data-log", "Print keys and values of records. Naming a decoder does that too."),
		verifyOnly:     s.Flag("verify-index-only", "Check indexes against the segment without printing them."),
		sanity:         s.Flag("index-sanity-check", "Only check of indexes what a broker checks when it starts, to find those that it would build again."),
		maxMessageSize: s.Value("max-message-size", flags.Integer, "size", "The size of the largest batch that an index points at, in bytes.").Default(fmt.Sprint(dump.DefaultMaxMessageSize)),
		maxBytes:       s.Value("max-bytes", flags.Integer, "size", "How many bytes of each segment to read.").Default(fmt.Sprint(dump.DefaultMaxBytes)),
		deep:           s.Flag("deep-iteration", "Show records, not only batches. Printing their data does that too."),
		valueDecoder:   s.Value("value-decoder-class", flags.String, "", "The decoder of values: "+stringDecoder+", IntegerDecoder, LongDecoder or DefaultDecoder.").Optional().Default(stringDecoder),
		keyDecoder:     s.Value("key-decoder-class", flags.String, "", "The decoder of keys.").Optional().Default(stringDecoder),
		offsets:        s.Flag("offsets-decoder", "The records are those of __consumer_offsets."),
		transactions:   s.Flag("transaction-log-decoder", "The records are those of __transaction_state."),
		skip:           s.Flag("skip-record-metadata", "Print only keys and values of records."),
	}
}

// runDumpLog is kafka-dump-log.
func runDumpLog(ctx context.Context, args []string, std streams) int {
	f := newDumpLogFlags()
	if code, done := parseTool(f.set, args, std); done {
		return code
	}
	if err := f.set.CheckRequired(f.files); err != nil {
		return usageError(f.set, err, std)
	}
	o := dump.Options{
		Out: std.out, Err: std.err,
		Deep: f.deep.Given(), Contents: f.printsContents(), SkipMetadata: f.skip.Given(),
		VerifyIndexOnly: f.verifyOnly.Given(), IndexSanityCheck: f.sanity.Given(),
		MaxMessageSize: int(f.maxMessageSize.Int()), MaxBytes: int(f.maxBytes.Int()),
	}
	if err := f.decoder(&o); err != nil {
		fmt.Fprintln(std.err, err)
		return 1
	}
	ok := dump.Files(ctx, o, strings.Split(f.files.Text(), ","))
	switch {
	case ctx.Err() != nil:
		return interrupted(ctx)
	case !ok:
		return 1
	}
	return 0
}

// printsContents reports whether keys and values are asked for.
func (f *dumpLogFlags) printsContents() bool {
	for _, o := range []*flags.Option{f.printData, f.offsets, f.transactions, f.valueDecoder, f.keyDecoder} {
		if o.Given() {
			return true
		}
	}
	return false
}

// decoder chooses how keys and values are shown.
func (f *dumpLogFlags) decoder(o *dump.Options) error {
	switch {
	case f.offsets.Given():
		o.Decoder = dump.Offsets
		return nil
	case f.transactions.Given():
		o.Decoder = dump.Transactions
		return nil
	}
	var fields [2]dump.Field
	for i, option := range []*flags.Option{f.valueDecoder, f.keyDecoder} {
		field, note, err := dump.FieldByClass(option.Text())
		if err != nil {
			return err
		}
		if fields[i] = field; note != "" {
			o.Notes = append(o.Notes, note)
		}
	}
	o.Decoder = dump.KeyValue(fields[1], fields[0])
	return nil
}
