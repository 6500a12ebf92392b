package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/magiconair/properties"

	"github.com/ottla/ottla/broker/vfs"
	"github.com/ottla/ottla/proto/cluster"
)

// MetaProperties is the content of meta.properties, which ties a log directory to a cluster and a broker (F§4.1).
type MetaProperties struct {
	// ClusterID is cluster.id: the content of /cluster/id.
	ClusterID string
	// BrokerID is broker.id; NoBroker when the file does not say.
	BrokerID cluster.BrokerID
}

// ReadMetaProperties reads meta.properties of a log directory. ok is false when there is none yet.
func ReadMetaProperties(fsys vfs.FS, dir string) (m MetaProperties, ok bool, err error) {
	path := filepath.Join(dir, metaFile)
	data, err := vfs.ReadFile(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return MetaProperties{BrokerID: cluster.NoBroker}, false, nil
	}
	if err != nil {
		return MetaProperties{}, false, err
	}
	m, err = decodeMetaProperties(data)
	if err != nil {
		return MetaProperties{}, false, fmt.Errorf("read %s: %w", path, err)
	}
	return m, true, nil
}

// WriteMetaProperties replaces meta.properties of a log directory. now goes into the comment that Java writes.
func WriteMetaProperties(fsys vfs.FS, dir string, m MetaProperties, now time.Time) error {
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, metaFile), encodeMetaProperties(m, now), filePerm)
}

func encodeMetaProperties(m MetaProperties, now time.Time) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "#\n#%s\nversion=0\n", now.Format("Mon Jan 02 15:04:05 MST 2006"))
	if m.BrokerID >= 0 {
		fmt.Fprintf(&b, "broker.id=%d\n", m.BrokerID)
	}
	fmt.Fprintf(&b, "cluster.id=%s\n", m.ClusterID)
	return b.Bytes()
}

func decodeMetaProperties(data []byte) (MetaProperties, error) {
	loader := properties.Loader{Encoding: properties.ISO_8859_1, DisableExpansion: true}
	p, err := loader.LoadBytes(data)
	if err != nil {
		return MetaProperties{}, err
	}
	if v := p.GetString("version", ""); v != "0" {
		return MetaProperties{}, fmt.Errorf("version %q, want 0", v)
	}
	m := MetaProperties{ClusterID: p.GetString("cluster.id", ""), BrokerID: cluster.NoBroker}
	if s, ok := p.Get("broker.id"); ok {
		id, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return MetaProperties{}, fmt.Errorf("broker.id %q is not a number from 0", s)
		}
		m.BrokerID = cluster.BrokerID(id)
	}
	return m, nil
}

// encodePartitionMetadata builds partition.metadata, which ties a partition's directory to one incarnation of its topic.
func encodePartitionMetadata(id cluster.TopicID) []byte {
	return fmt.Appendf(nil, "version: 0\ntopic_id: %s\n", id)
}

func decodePartitionMetadata(data []byte) (cluster.TopicID, error) {
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(lines) != 2 || lines[0] != "version: 0" {
		return cluster.TopicID{}, errors.New("want the lines \"version: 0\" and \"topic_id: <id>\"")
	}
	text, ok := strings.CutPrefix(lines[1], "topic_id: ")
	if !ok {
		return cluster.TopicID{}, errors.New("the second line has no topic_id")
	}
	id, err := cluster.ParseTopicID(text)
	if err != nil {
		return cluster.TopicID{}, err
	}
	if id.IsZero() {
		return cluster.TopicID{}, errors.New("the topic id is zero")
	}
	return id, nil
}
