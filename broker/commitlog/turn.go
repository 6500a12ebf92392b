package commitlog

// turn is a mutex for sections that wait for a disk. Waiting for it is a channel operation: it counts as blocked in a
// testing/synctest bubble, so that virtual time goes on while somebody sits out a slow disk; waiting for a sync.Mutex
// does not. Sections that only touch memory use sync.Mutex.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// Lock waits for the turn and takes it.
func (t turn) Lock() { t <- struct{}{} }

// TryLock takes the turn if it is free.
func (t turn) TryLock() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

// Unlock gives the turn back.
func (t turn) Unlock() { <-t }
