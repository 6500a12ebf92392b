package embedded

import (
	"github.com/ottla/ottla/zk/embedded/tree"
	"github.com/ottla/ottla/zk/jute"
)

func (k *core) limits() tree.CreateLimits { return tree.CreateLimits{AllowTTL: k.cfg.ExtendedTypes} }

// write runs a transaction of one operation and returns its code.
func (k *core) write(op func(b *tree.Batch) jute.Code) jute.Code {
	code := jute.OK
	k.transact(func(b *tree.Batch) bool {
		code = op(b)
		return code == jute.OK
	})
	return code
}

func (k *core) create(c *conn, rq *request) {
	r := jute.CreateRequest{HasTTL: rq.op == jute.OpCreateTTL}
	if !k.decode(c, rq, &r) {
		return
	}
	var path string
	var stat jute.Stat
	code := k.write(func(b *tree.Batch) (code jute.Code) {
		path, stat, code = b.Create(&c.caller, rq.op, &r, k.limits())
		return code
	})
	k.reply(c, rq, code, func(e *jute.Encoder) {
		e.String(path)
		if rq.op != jute.OpCreate {
			stat.Encode(e)
		}
	})
}

func (k *core) delete(c *conn, rq *request) {
	var r jute.PathVersionRequest
	if !k.decode(c, rq, &r) {
		return
	}
	code := k.write(func(b *tree.Batch) jute.Code { return b.Delete(&c.caller, r.Path, r.Version) })
	k.reply(c, rq, code, nil)
}

func (k *core) setData(c *conn, rq *request) {
	var r jute.SetDataRequest
	if !k.decode(c, rq, &r) {
		return
	}
	var stat jute.Stat
	code := k.write(func(b *tree.Batch) (code jute.Code) {
		stat, code = b.SetData(&c.caller, &r)
		return code
	})
	k.reply(c, rq, code, stat.Encode)
}

func (k *core) setACL(c *conn, rq *request) {
	var r jute.SetACLRequest
	if !k.decode(c, rq, &r) {
		return
	}
	var stat jute.Stat
	code := k.write(func(b *tree.Batch) (code jute.Code) {
		stat, code = b.SetACL(&c.caller, &r)
		return code
	})
	k.reply(c, rq, code, stat.Encode)
}

// opResult is the outcome of one operation of a multi.
type opResult struct {
	op   jute.Op // as answered: create2 for everything that returns path and Stat
	code jute.Code
	body func(e *jute.Encoder)
	size int // of a read's answer, roughly
}

// multi carries out all operations or none (Z§7). The header's code is OK even when they failed.
func (k *core) multi(c *conn, rq *request) {
	ops, err := jute.DecodeMulti(rq.body)
	if err != nil || !allOf(ops, isWrite) {
		k.reply(c, rq, jute.MarshallingError, nil)
		return
	}
	results := make([]opResult, len(ops))
	ok := k.transact(func(b *tree.Batch) bool {
		for i, op := range ops {
			if results[i] = k.multiOp(c, b, op); results[i].code != jute.OK {
				failAll(results, i)
				return false
			}
		}
		return true
	})
	k.reply(c, rq, jute.OK, func(e *jute.Encoder) { encodeResults(e, results, ok) })
}

func isWrite(op jute.Op) bool { return op != jute.OpGetData && op != jute.OpGetChildren }
func isRead(op jute.Op) bool  { return !isWrite(op) }

func allOf(ops []jute.MultiOp, is func(jute.Op) bool) bool {
	for _, op := range ops {
		if !is(op.Op) {
			return false
		}
	}
	return true
}

// failAll marks the operations around the failed one: OK before it, RuntimeInconsistency after it (Z§7).
func failAll(results []opResult, failed int) {
	for i := range results {
		switch {
		case i < failed:
			results[i] = opResult{code: jute.OK}
		case i > failed:
			results[i] = opResult{code: jute.RuntimeInconsistency}
		}
	}
}

func (k *core) multiOp(c *conn, b *tree.Batch, op jute.MultiOp) opResult {
	switch r := op.Record.(type) {
	case *jute.CreateRequest:
		path, stat, code := b.Create(&c.caller, op.Op, r, k.limits())
		if op.Op == jute.OpCreate {
			return opResult{op: op.Op, code: code, body: func(e *jute.Encoder) { e.String(path) }}
		}
		return opResult{op: jute.OpCreate2, code: code, body: func(e *jute.Encoder) {
			e.String(path)
			stat.Encode(e)
		}}
	case *jute.PathVersionRequest:
		if op.Op == jute.OpCheck {
			return opResult{op: op.Op, code: b.Check(&c.caller, r.Path, r.Version)}
		}
		return opResult{op: op.Op, code: b.Delete(&c.caller, r.Path, r.Version)}
	case *jute.SetDataRequest:
		stat, code := b.SetData(&c.caller, r)
		return opResult{op: op.Op, code: code, body: stat.Encode}
	default:
		return opResult{op: op.Op, code: jute.Unimplemented}
	}
}

// encodeResults appends the body of a multi's reply. If the multi failed, every operation is answered with an error.
func encodeResults(e *jute.Encoder, results []opResult, ok bool) {
	for _, r := range results {
		if !ok || r.code != jute.OK {
			h := jute.MultiHeader{Op: jute.OpError, Err: r.code}
			h.Encode(e)
			e.Int(int32(r.code))
			continue
		}
		h := jute.MultiHeader{Op: r.op}
		h.Encode(e)
		if r.body != nil {
			r.body(e)
		}
	}
	end := jute.MultiEnd
	end.Encode(e)
}
