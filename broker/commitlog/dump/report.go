package dump

// maxFindings bounds how many findings of a kind are remembered for the report.
const maxFindings = 1 << 18

// pair are two numbers that do not fit.
type pair struct{ a, b int64 }

// findings are pairs by file, in the order of the files.
type findings struct {
	files []string
	pairs map[string][]pair
	count int
	more  int // that were not kept
}

// add notes a pair.
func (f *findings) add(file string, a, b int64) {
	if f.pairs == nil {
		f.pairs = map[string][]pair{}
	}
	if f.count == maxFindings {
		f.more++
		return
	}
	f.count++
	if _, ok := f.pairs[file]; !ok {
		f.files = append(f.files, file)
	}
	f.pairs[file] = append(f.pairs[file], pair{a, b})
}

// report prints the findings.
func (d *dumper) report() {
	kinds := []struct {
		of         *findings
		title      string
		named      bool // the title ends with the file's name
		line       string
		latestLast bool
	}{
		{&d.mismatches, "Mismatches in :", true, "  Index offset: %d, log offset: %d", false},
		{&d.timestamps, "Found timestamp mismatch in :", true, "  Index timestamp: %d, log timestamp: %d", true},
		{&d.disorder, "Found out of order timestamp in :", true, "  Index timestamp: %d, Previously indexed timestamp: %d", true},
		{&d.missing, "The following indexed offsets are not found in the log.", false, "Indexed offset: %d, found log offset: %d", true},
		{&d.discontinued, "Non-consecutive offsets in ", true, "  %d is followed by %d", false},
	}
	for _, k := range kinds {
		for _, file := range k.of.files {
			if k.named {
				d.warn("%s%s", k.title, file)
			} else {
				d.warn("%s", k.title)
			}
			pairs := k.of.pairs[file]
			for i := range pairs {
				p := pairs[i]
				if !k.latestLast { // Kafka's tool puts the latest first
					p = pairs[len(pairs)-1-i]
				}
				d.warn(k.line, p.a, p.b)
			}
		}
		if k.of.more > 0 {
			d.warn("  %d more are not shown", k.of.more)
		}
	}
}
