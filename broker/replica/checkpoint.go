package replica

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// checkpointLoop notes high watermarks at an interval, in a goroutine of its own. The zero value has not started.
type checkpointLoop struct {
	start   sync.Once
	stopped sync.Once
	quit    chan struct{}
	done    chan struct{}
}

// begin starts the loop unless it runs or has been stopped already.
func (l *checkpointLoop) begin(every time.Duration, note func() error, logger hclog.Logger) {
	l.start.Do(func() {
		l.quit, l.done = make(chan struct{}), make(chan struct{})
		go l.run(every, note, logger)
	})
}

func (l *checkpointLoop) run(every time.Duration, note func() error, logger hclog.Logger) {
	defer close(l.done)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := note(); err != nil {
				logger.Error("high watermarks were not noted", "error", err)
			}
		case <-l.quit:
			return
		}
	}
}

// stop ends the loop and waits for it. It never starts again.
func (l *checkpointLoop) stop() {
	l.start.Do(func() {})
	l.stopped.Do(func() {
		if l.quit != nil {
			close(l.quit)
			<-l.done
		}
	})
}
