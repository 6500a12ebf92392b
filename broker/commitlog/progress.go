package commitlog

import (
	"sync/atomic"
	"time"
)

// progressInterval is how often the loading of a directory says how far it is.
const progressInterval = 10 * time.Second

// progress says how far the loading of a directory is. It is safe for concurrent use.
type progress struct {
	logs     atomic.Int64 // that are not loaded yet
	segments atomic.Int64 // of the logs at hand, that are still to be scanned
	bytes    atomic.Int64 // scanned so far
}

// watch logs how far it is, every progressInterval, until stop is called.
func (p *progress) watch(d *logDir) (stop func()) {
	started := time.Now()
	ticker := time.NewTicker(progressInterval)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case now := <-ticker.C:
				d.log.Info("loading log directory goes on", "dir", d.path, "remaining-logs", p.logs.Load(),
					"remaining-segments-of-logs-at-hand", p.segments.Load(), "scanned-bytes", p.bytes.Load(), "elapsed", now.Sub(started))
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(quit)
		<-done
	}
}
