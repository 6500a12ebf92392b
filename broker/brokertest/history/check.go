package history

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ottla/ottla/proto/cluster"
)

// Options say what was promised.
type Options struct {
	// Idempotent producers promise that nothing is there twice, and that what they gave up is in order too.
	Idempotent bool
}

// Check judges the history. Every partition that something was sent to must have been read with [History.Final].
func (h *History) Check(o Options) (Report, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := Report{Sent: len(h.sends), Gap: h.gap}
	byPartition := map[incarnation]*partition{}
	at := func(in incarnation) *partition {
		p := byPartition[in]
		if p == nil {
			p = &partition{tp: in.tp, options: o, log: h.finals[in], deleted: in != h.lives(in.tp), version: map[cluster.Offset]string{}}
			if p.log == nil && p.deleted {
				p.log = &Reader{h: h} // nobody has looked, and nobody can any more
			}
			byPartition[in] = p
		}
		return p
	}
	homes, found := h.homes()
	sent := map[string]cluster.TopicPartition{}
	for _, s := range h.sends {
		if _, twice := sent[s.value]; twice {
			return r, fmt.Errorf("check the history: the value %q was sent twice; values must be unique", s.value)
		}
		sent[s.value] = s.tp
		if in, ok := s.certain(); ok || h.phases[s.tp] == 0 {
			p := at(in)
			p.sends = append(p.sends, s)
		} else {
			maybe := *s
			maybe.outcome = unknown // in this topic
			for n := range h.lives(s.tp).n + 1 {
				p := at(incarnation{s.tp, n})
				p.sends = append(p.sends, &maybe)
			}
		}
		switch s.outcome {
		case acked:
			r.Acked++
		case failed:
			r.Failed++
			if r.FirstError == nil {
				r.FirstError = s.err
			}
		}
	}
	for _, reader := range h.readers {
		parts, mixed := h.split(reader, homes)
		found = append(found, mixed...)
		for in, part := range parts {
			p := at(in) // also of a phantom in a partition that nobody sent to
			p.readers = append(p.readers, part)
		}
	}
	var errs []error
	r.Anomalies = append(append(r.Anomalies, h.seen...), found...)
	for _, in := range slices.SortedFunc(maps.Keys(byPartition), incarnation.compare) {
		p := byPartition[in]
		if p.log == nil {
			errs = append(errs, fmt.Errorf("check the history: %s was not read to its end", in.tp))
			continue
		}
		for _, reader := range p.readers {
			p.learn(reader, sent)
		}
		p.checkLog()
		p.checkSends()
		for _, reader := range p.readers {
			n := p.checkReader(reader)
			if reader != p.log {
				r.Read += n
			}
		}
		r.Logged += len(p.log.polls)
		r.Lost += p.lost
		r.Duplicated += p.duplicated
		r.Anomalies = append(r.Anomalies, p.found...)
	}
	return r, errors.Join(errs...)
}

// partition is the check of one partition.
type partition struct {
	tp      cluster.TopicPartition
	options Options
	sends   []*Send
	log     *Reader                   // everything in it at the end
	readers []*Reader                 // what was read of it, the log included
	deleted bool                      // it went on behind what log has, and then its topic was deleted
	version map[cluster.Offset]string // what every observation together says is at an offset

	lost, duplicated int
	found            []Anomaly
}

func (p *partition) report(k Kind, format string, args ...any) {
	p.found = append(p.found, Anomaly{k, p.tp, fmt.Sprintf(format, args...)})
}

// learn takes over what a reader saw.
func (p *partition) learn(r *Reader, sent map[string]cluster.TopicPartition) {
	for _, x := range r.polls {
		if x.tp != p.tp {
			continue
		}
		if where, ok := sent[x.value]; !ok {
			p.report(Phantom, "%s got %.60q at offset %d, which nobody sent", r.name, x.value, x.offset)
		} else if where != p.tp {
			p.report(Phantom, "%s got %q at offset %d, which was sent to %s", r.name, x.value, x.offset, where)
		}
		p.observe(x.offset, x.value, r.name)
	}
}

// observe notes that somebody saw a value at an offset.
func (p *partition) observe(o cluster.Offset, value, who string) {
	before, ok := p.version[o]
	if ok && before != value {
		p.report(InconsistentOffsets, "offset %d is %.60q, and was %.60q to %s", o, before, value, who)
		return
	}
	p.version[o] = value
}

// checkLog looks at the partition as it is in the end: offsets are dense, and values are there once.
func (p *partition) checkLog() {
	seen := map[string]cluster.Offset{}
	for i, x := range p.log.polls {
		if i > 0 && x.offset > p.log.polls[i-1].offset+1 {
			p.report(Hole, "there is nothing between offsets %d and %d", p.log.polls[i-1].offset, x.offset)
		}
		first, twice := seen[x.value]
		if !twice {
			seen[x.value] = x.offset
			continue
		}
		p.duplicated++
		if p.options.Idempotent {
			p.report(Duplicate, "%q is at offset %d and at offset %d", x.value, first, x.offset)
		}
	}
}

// checkSends looks for what was acknowledged, and at the order of what each producer sent.
func (p *partition) checkSends() {
	inLog := map[cluster.Offset]string{}
	place := map[string]cluster.Offset{} // where a value is first
	end := cluster.Offset(0)
	for _, x := range p.log.polls {
		inLog[x.offset] = x.value
		end = max(end, x.offset+1)
		if _, ok := place[x.value]; !ok {
			place[x.value] = x.offset
		}
	}
	type position struct {
		value  string
		offset cluster.Offset
	}
	last := map[string]position{} // by producer
	for _, s := range p.sends {
		offset, there := place[s.value]
		if s.outcome == acked && s.offset < 0 && !there && !p.deleted {
			p.lost++
			p.report(LostWrite, "%q was acknowledged without an offset, and is nowhere", s.value)
		}
		if s.outcome == acked && s.offset >= 0 {
			p.observe(s.offset, s.value, s.producer)
			switch {
			case s.offset >= end && p.deleted:
			case s.offset >= end:
				p.lost++
				p.report(Unseen, "%q was acknowledged at offset %d, and the partition ends at %d", s.value, s.offset, end)
			case inLog[s.offset] != s.value:
				p.lost++
				p.report(LostWrite, "%q was acknowledged at offset %d, where %q is", s.value, s.offset, inLog[s.offset])
			}
			if !there {
				offset, there = s.offset, true // where it was
			}
		}
		if !there || s.outcome != acked && !p.options.Idempotent {
			continue
		}
		if before, ok := last[s.producer]; ok && offset < before.offset {
			p.report(NonmonotonicSend, "%q at offset %d was sent by %s after %q at offset %d", s.value, offset, s.producer, before.value, before.offset)
		} else {
			last[s.producer] = position{s.value, offset}
		}
	}
}

// checkReader wants a reader to have got every offset that exists from its first one on, in order. It returns how many it got.
func (p *partition) checkReader(r *Reader) (n int) {
	offsets := slices.SortedFunc(maps.Keys(p.version), cmp.Compare[cluster.Offset])
	last := cluster.Offset(-1)
	for _, x := range r.polls {
		if x.tp != p.tp {
			continue
		}
		switch {
		case n > 0 && x.offset <= last:
			p.report(NonmonotonicPoll, "%s got offset %d after offset %d", r.name, x.offset, last)
		case n > 0:
			if i, _ := slices.BinarySearch(offsets, last+1); offsets[i] < x.offset {
				p.report(PollSkip, "%s got offset %d after offset %d, without %d (%q)", r.name, x.offset, last, offsets[i], p.version[offsets[i]])
			}
		}
		last = x.offset
		n++
	}
	return n
}
