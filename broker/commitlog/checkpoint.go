package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/ottla/ottla/broker/epoch"
	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// checkpointVersion is the first line of every checkpoint. On disk: do not change.
const checkpointVersion = "0"

// A checkpoint is text: a line with the version, a line with the number of entries, one line for each entry.

// encodeCheckpoint builds the text from lines without their newline.
func encodeCheckpoint(n int, line func(i int, b []byte) []byte) []byte {
	b := append([]byte(checkpointVersion), '\n')
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, '\n')
	for i := range n {
		b = line(i, b)
		b = append(b, '\n')
	}
	return b
}

// decodeCheckpoint splits the text into the fields of its entries. Empty text has no entries.
func decodeCheckpoint(data []byte, fields int, entry func(f [][]byte) error) error {
	if len(data) == 0 {
		return nil
	}
	lines := bytes.Split(data, []byte{'\n'})
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	if string(lines[0]) != checkpointVersion {
		return fmt.Errorf("checkpoint: version %q, want %q", clip(lines[0]), checkpointVersion)
	}
	if len(lines) < 2 {
		return errors.New("checkpoint: the number of entries is missing")
	}
	n, err := strconv.ParseUint(string(lines[1]), 10, 31)
	if err != nil {
		return fmt.Errorf("checkpoint: number of entries %q is not a number", clip(lines[1]))
	}
	if int(n) != len(lines)-2 {
		return fmt.Errorf("checkpoint: %d entries announced, %d found", n, len(lines)-2)
	}
	for i, line := range lines[2:] {
		f := bytes.Fields(line)
		if len(f) != fields {
			return fmt.Errorf("checkpoint: line %d is %q, want %d fields", i+3, clip(line), fields)
		}
		if err := entry(f); err != nil {
			return fmt.Errorf("checkpoint: line %d is %q: %w", i+3, clip(line), err)
		}
	}
	return nil
}

// clip shortens damaged text for an error message.
func clip(b []byte) []byte { return b[:min(len(b), 80)] }

// encodeOffsets builds a checkpoint of offsets, sorted by topic and partition.
func encodeOffsets(offsets map[cluster.TopicPartition]cluster.Offset) []byte {
	tps := slices.SortedFunc(maps.Keys(offsets), cluster.TopicPartition.Compare)
	return encodeCheckpoint(len(tps), func(i int, b []byte) []byte {
		b = append(b, tps[i].Topic...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(tps[i].Partition), 10)
		b = append(b, ' ')
		return strconv.AppendInt(b, int64(offsets[tps[i]]), 10)
	})
}

// decodeOffsets is the inverse of encodeOffsets.
func decodeOffsets(data []byte) (map[cluster.TopicPartition]cluster.Offset, error) {
	offsets := map[cluster.TopicPartition]cluster.Offset{}
	err := decodeCheckpoint(data, 3, func(f [][]byte) error {
		partition, err := strconv.ParseUint(string(f[1]), 10, 31)
		if err != nil {
			return errors.New("the partition is not a number from 0")
		}
		offset, err := strconv.ParseInt(string(f[2]), 10, 64)
		if err != nil || offset < 0 {
			return errors.New("the offset is not a number from 0")
		}
		tp := cluster.TopicPartition{Topic: string(f[0]), Partition: int32(partition)}
		if _, ok := offsets[tp]; ok {
			return errors.New("the partition occurs twice")
		}
		offsets[tp] = cluster.Offset(offset)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return offsets, nil
}

// EpochEntry says at which offset a leader epoch begins.
type EpochEntry = epoch.Entry

// encodeEpochs builds a leader-epoch-checkpoint.
func encodeEpochs(entries []EpochEntry) []byte {
	return encodeCheckpoint(len(entries), func(i int, b []byte) []byte {
		b = strconv.AppendInt(b, int64(entries[i].Epoch), 10)
		b = append(b, ' ')
		return strconv.AppendInt(b, int64(entries[i].StartOffset), 10)
	})
}

// decodeEpochs is the inverse of encodeEpochs. Epochs and offsets must rise strictly.
func decodeEpochs(data []byte) ([]EpochEntry, error) {
	var entries []EpochEntry
	err := decodeCheckpoint(data, 2, func(f [][]byte) error {
		epoch, err := strconv.ParseUint(string(f[0]), 10, 31)
		if err != nil {
			return errors.New("the epoch is not a number from 0")
		}
		start, err := strconv.ParseUint(string(f[1]), 10, 63)
		if err != nil {
			return errors.New("the offset is not a number from 0")
		}
		e := EpochEntry{Epoch: cluster.LeaderEpoch(epoch), StartOffset: cluster.Offset(start)}
		if n := len(entries); n > 0 && (e.Epoch <= entries[n-1].Epoch || e.StartOffset <= entries[n-1].StartOffset) {
			return fmt.Errorf("does not rise after %d %d", entries[n-1].Epoch, entries[n-1].StartOffset)
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// readOffsets reads a checkpoint of offsets. A file that does not exist has no entries.
func readOffsets(fsys vfs.FS, dir, name string) (map[cluster.TopicPartition]cluster.Offset, error) {
	path := filepath.Join(dir, name)
	data, err := vfs.ReadFile(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[cluster.TopicPartition]cluster.Offset{}, nil
	}
	if err != nil {
		return nil, err
	}
	offsets, err := decodeOffsets(data)
	if err != nil {
		return nil, &CorruptionError{File: path, Reason: err.Error()}
	}
	return offsets, nil
}

// writeOffsets replaces a checkpoint of offsets.
func writeOffsets(fsys vfs.FS, dir, name string, offsets map[cluster.TopicPartition]cluster.Offset) error {
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, name), encodeOffsets(offsets), filePerm)
}
